package org.apache.zookeeper.server;

import farwatch.zktests.RemoteFactory;

/** Takes the place of ZooKeeper's own, so that no test starts a server in its own process. */
public class NettyServerCnxnFactory extends RemoteFactory {
}
