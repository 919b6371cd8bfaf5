//! Checklist D, E, J and K of the client protocol, each write alone.

use super::{Options, check, check_with, expect};

#[test]
fn d1_to_d6_create_checks_parent_before_path_before_existence() {
    check(
        "create /a/b
         create /a
         create /a
         create /
         create -
         create foo
         nullpath
         create /a/
         create /a/..
         create /a/.
         create /a/x%01
         create /a/x%7f
         create /a/%ee%80%80
         create /a/%f0%9f%98%80
         create /a/%ff
         create /a%00
         create /a/.b
         create /nope/..
         create //a
         create /b/",
        expect![[r#"
            create /a/b -> 3 error -101
            create /a -> 4 create /a #1
            create /a -> 5 error -110
            create / -> 6 error -110
            create - -> 7 error -8
            create foo -> 8 error -8
            nullpath -> refused -5
            create /a/ -> 9 error -8
            create /a/.. -> 10 error -8
            create /a/. -> 11 error -8
            create /a/x%01 -> 12 error -8
            create /a/x%7f -> 13 error -8
            create /a/%ee%80%80 -> 14 error -8
            create /a/%f0%9f%98%80 -> 15 error -8
            create /a/%ff -> 16 error -8
            create /a%00 -> 17 error -8
            create /a/.b -> 18 create /a/.b #1
            create /nope/.. -> 19 error -101
            create //a -> 20 error -8
            create /b/ -> 21 error -101
        "#]],
    );
}

#[test]
fn d7_to_d9_lists_are_checked_before_the_parent_is_looked_at() {
    check(
        "create /a acl=null
         create /a acl=empty
         create /nope/a acl=empty
         create /nope/a acl=31:world:bob
         create /a acl=31:foo:x
         create /a acl=31:digest:bob
         create /a acl=31:auth:
         create /r acl=1:world:anyone
         create /r/a
         create /r/a acl=empty
         create /r/%01
         s2 who digest:b:1 digest:c:2
         s2 create /mine acl=31:auth:
         create /mine/x
         s2 create /mine/x
         s2 who super:
         s2 create /r/x",
        expect![[r#"
            create /a acl=null -> 3 error -114
            create /a acl=empty -> 4 error -114
            create /nope/a acl=empty -> 5 error -114
            create /nope/a acl=31:world:bob -> 6 error -114
            create /a acl=31:foo:x -> 7 error -114
            create /a acl=31:digest:bob -> 8 error -114
            create /a acl=31:auth: -> 9 error -114
            create /r acl=1:world:anyone -> 10 create /r [1:world:anyone] #1
            create /r/a -> 11 error -102
            create /r/a acl=empty -> 12 error -114
            create /r/%01 -> 13 error -102
            s2 create /mine acl=31:auth: -> 14 create /mine [31:digest:b:1,31:digest:c:2] #2
            create /mine/x -> 15 error -102
            s2 create /mine/x -> 16 create /mine/x #1
            s2 create /r/x -> 17 create /r/x #1
        "#]],
    );
}

#[test]
fn d10_d11_d15_d17_d18_modes_and_names() {
    check(
        "create /e flags=1
         create /e/x
         create /e/x flags=2
         create /a flags=7
         create /a flags=-1
         create /a flags=4
         create /a/one
         delete /a/one
         create /a/q- flags=2
         create /a/q- flags=3
         create /a/ flags=2
         create / flags=2
         s2 create /nope flags=9
         create2 /a/x flags=2 data=null
         container /c flags=1
         container /c- flags=2
         create /c/x",
        expect![[r#"
            create /e flags=1 -> 3 create /e ephemeral 0x1 #1
            create /e/x -> 4 error -108
            create /e/x flags=2 -> 5 error -108
            create /a flags=7 -> 6 error -8
            create /a flags=-1 -> 7 error -8
            create /a flags=4 -> 8 create /a #2
            create /a/one -> 9 create /a/one #1
            delete /a/one -> 10 delete /a/one
            create /a/q- flags=2 -> 11 create /a/q-0000000001 #2
            create /a/q- flags=3 -> 12 create /a/q-0000000002 ephemeral 0x1 #3
            create /a/ flags=2 -> 13 create /a/0000000003 #4
            create / flags=2 -> 14 create /0000000002 #3
            s2 create /nope flags=9 -> 15 error -8
            create2 /a/x flags=2 data=null -> 16 create /a/x0000000004 null #5
            container /c flags=1 -> 17 create /c container #4
            container /c- flags=2 -> 18 create /c-0000000004 container #5
            create /c/x -> 19 create /c/x #1
        "#]],
    );
}

#[test]
fn d12_to_d14_time_to_live() {
    let script = "ttl /t ttl=0
         ttl /t ttl=-1
         ttl /t ttl=1099511627776
         ttl /t ttl=1099511627775
         ttl /u flags=6 ttl=5
         ttl /v flags=0 ttl=5
         ttl /v flags=0 ttl=-1
         ttl /v flags=4 ttl=-1
         create /v flags=5
         container /v flags=6
         create /t/x flags=1";
    check(
        script,
        expect![[r#"
        ttl /t ttl=0 -> 3 error -8
        ttl /t ttl=-1 -> 4 error -8
        ttl /t ttl=1099511627776 -> 5 error -8
        ttl /t ttl=1099511627775 -> 6 create /t ttl 1099511627775 #1
        ttl /u flags=6 ttl=5 -> 7 create /u0000000001 ttl 5 #2
        ttl /v flags=0 ttl=5 -> 8 error -8
        ttl /v flags=0 ttl=-1 -> 9 error -8
        ttl /v flags=4 ttl=-1 -> 10 error -8
        create /v flags=5 -> 11 error -8
        container /v flags=6 -> 12 error -8
        create /t/x flags=1 -> 13 create /t/x ephemeral 0x1 #1
    "#]],
    );
    check_with(
        Options::default(),
        script,
        expect![[r#"
        ttl /t ttl=0 -> 3 error -6
        ttl /t ttl=-1 -> 4 error -6
        ttl /t ttl=1099511627776 -> 5 error -6
        ttl /t ttl=1099511627775 -> 6 error -6
        ttl /u flags=6 ttl=5 -> 7 error -6
        ttl /v flags=0 ttl=5 -> 8 error -8
        ttl /v flags=0 ttl=-1 -> 9 error -8
        ttl /v flags=4 ttl=-1 -> 10 error -8
        create /v flags=5 -> 11 error -6
        container /v flags=6 -> 12 error -6
        create /t/x flags=1 -> 13 error -101
    "#]],
    );
}

#[test]
fn e1_to_e4_delete_checks_permission_on_the_parent_then_version_then_children() {
    check(
        "delete /nope
         delete /nope/x
         delete /
         delete /zookeeper
         delete /zookeeper/quota
         delete /zookeeper/config
         delete foo
         delete /a%00
         create /a
         delete /a/
         create /a/b
         delete /a v=3
         delete /a
         create /r acl=31:world:anyone
         create /r/x acl=0:world:anyone
         setacl /r acl=1:world:anyone
         delete /r/x
         delete /r/missing
         delete /a/b v=0
         delete /a
         delete /a",
        expect![[r#"
            delete /nope -> 3 error -101
            delete /nope/x -> 4 error -101
            delete / -> 5 error -8
            delete /zookeeper -> 6 error -8
            delete /zookeeper/quota -> 7 error -8
            delete /zookeeper/config -> 8 error -8
            delete foo -> 9 error -8
            delete /a%00 -> 10 error -8
            create /a -> 11 create /a #1
            delete /a/ -> 12 error -101
            create /a/b -> 13 create /a/b #1
            delete /a v=3 -> 14 error -103
            delete /a -> 15 error -111
            create /r acl=31:world:anyone -> 16 create /r #2
            create /r/x acl=0:world:anyone -> 17 create /r/x [0:world:anyone] #1
            setacl /r acl=1:world:anyone -> 18 setacl /r [1:world:anyone] v1
            delete /r/x -> 19 error -102
            delete /r/missing -> 20 error -102
            delete /a/b v=0 -> 21 delete /a/b
            delete /a -> 22 delete /a
            delete /a -> 23 error -101
        "#]],
    );
}

#[test]
fn e5_e6_e7_e13_set_data() {
    check(
        "set -
         set foo
         set /nope
         set /
         set /zookeeper/config
         create /a acl=1:world:anyone
         set /a v=9
         create /b data=x
         set /b data=x v=0
         set /b data=null v=1
         set /b v=1
         set /b",
        expect![[r#"
            set - -> 3 error -8
            set foo -> 4 error -8
            set /nope -> 5 error -101
            set / -> 6 set / v1
            set /zookeeper/config -> 7 error -102
            create /a acl=1:world:anyone -> 8 create /a [1:world:anyone] #1
            set /a v=9 -> 9 error -102
            create /b data=x -> 10 create /b x #2
            set /b data=x v=0 -> 11 set /b x v1
            set /b data=null v=1 -> 12 set /b null v2
            set /b v=1 -> 13 error -103
            set /b -> 14 set /b v3
        "#]],
    );
}

#[test]
fn e8_e11_set_acl() {
    check(
        "setacl /nope acl=empty
         setacl /nope
         setacl foo acl=empty
         create /a
         setacl /a acl=3:world:anyone v=4
         setacl /a acl=3:world:anyone v=0
         setacl /a
         who digest:a:1 digest:b:2 ip:10.0.0.1
         create /b acl=31:auth:,1:world:anyone,1:world:anyone
         setacl /b acl=1:auth: v=0
         setacl /b acl=1:auth: v=1
         set /b",
        expect![[r#"
            setacl /nope acl=empty -> 3 error -114
            setacl /nope -> 4 error -101
            setacl foo acl=empty -> 5 error -8
            create /a -> 6 create /a #1
            setacl /a acl=3:world:anyone v=4 -> 7 error -103
            setacl /a acl=3:world:anyone v=0 -> 8 setacl /a [3:world:anyone] v1
            setacl /a -> 9 error -102
            create /b acl=31:auth:,1:world:anyone,1:world:anyone -> 10 create /b [31:digest:a:1,31:digest:b:2,1:world:anyone] #2
            setacl /b acl=1:auth: v=0 -> 11 setacl /b [1:digest:a:1,1:digest:b:2] v1
            setacl /b acl=1:auth: v=1 -> 12 error -102
            set /b -> 13 error -102
        "#]],
    );
}

#[test]
fn i9_without_acls_nothing_is_refused_for_lack_of_permission() {
    let options = Options { skip_acl: true, ..Options::default() };
    check_with(
        options,
        "create /a acl=0:world:anyone
         create /a/b
         set /a
         set /zookeeper/config
         setacl /a acl=empty",
        expect![[r#"
            create /a acl=0:world:anyone -> 3 create /a [0:world:anyone] #1
            create /a/b -> 4 create /a/b #1
            set /a -> 5 set /a v1
            set /zookeeper/config -> 6 set /zookeeper/config v1
            setacl /a acl=empty -> 7 error -114
        "#]],
    );
}

#[test]
fn j1_j3_a_session_that_is_over_writes_nothing_and_leaves_no_ephemeral() {
    check(
        "s2 create /e flags=1
         create /p
         s2 create /p/e flags=1
         create /p/mine flags=1
         s2 delete /p/e
         create /p/e
         s2 create /p/f flags=1
         set /p/f data=x
         s2 close
         s2 create /x
         s2 create /x flags=9
         s2 create -
         s2 delete -
         s2 set -
         s2 setacl - acl=null
         s2 close
         s2 expire
         set /e
         set /p/f
         delete /p
         delete /p/e
         delete /p/mine
         delete /p
         s9 create /x
         s3 create /x
         s3 open
         s3 open
         s3 create /x
         s3 expire
         s3 create /y
         reconfig",
        expect![[r#"
            s2 create /e flags=1 -> 3 create /e ephemeral 0x2 #1
            create /p -> 4 create /p #2
            s2 create /p/e flags=1 -> 5 create /p/e ephemeral 0x2 #1
            create /p/mine flags=1 -> 6 create /p/mine ephemeral 0x1 #2
            s2 delete /p/e -> 7 delete /p/e
            create /p/e -> 8 create /p/e #3
            s2 create /p/f flags=1 -> 9 create /p/f ephemeral 0x2 #4
            set /p/f data=x -> 10 set /p/f x v1
            s2 close -> 11 close
            s2 create /x -> 12 error -112
            s2 create /x flags=9 -> 13 error -8
            s2 create - -> 14 error -112
            s2 delete - -> 15 error -112
            s2 set - -> 16 error -112
            s2 setacl - acl=null -> 17 error -112
            s2 close -> 18 error -112
            s2 expire -> pointless
            set /e -> 19 error -101
            set /p/f -> 20 error -101
            delete /p -> 21 error -111
            delete /p/e -> 22 delete /p/e
            delete /p/mine -> 23 delete /p/mine
            delete /p -> 24 delete /p
            s9 create /x -> 25 error -112
            s3 create /x -> 26 error -112
            s3 open -> 27 open 6000
            s3 open -> pointless
            s3 create /x -> 28 create /x #3
            s3 expire -> 29 close
            s3 create /y -> 30 error -112
            reconfig -> 31 error -123
        "#]],
    );
}

#[test]
fn j7_j8_what_lives_on_is_not_reaped() {
    check(
        "container /c
         reap /c
         reap /c 100
         wait 101
         reap /c 101
         create /c/x
         reap /c 100
         delete /c/x
         reap /c
         reap /c
         ttl /t ttl=50
         wait 50
         reap /t
         wait 1
         set /t
         reap /t
         wait 51
         create /t/x
         reap /t
         delete /t/x
         reap /t
         create /p
         wait 1000
         reap /p 1
         container /d
         wait 101
         reap /d 100
         create /d/x",
        expect![[r#"
            container /c -> 3 create /c container #1
            reap /c -> pointless
            reap /c 100 -> pointless
            reap /c 101 -> pointless
            create /c/x -> 4 create /c/x #1
            reap /c 100 -> pointless
            delete /c/x -> 5 delete /c/x
            reap /c -> 6 delete /c
            reap /c -> pointless
            ttl /t ttl=50 -> 7 create /t ttl 50 #2
            reap /t -> pointless
            set /t -> 8 set /t v1
            reap /t -> pointless
            create /t/x -> 9 create /t/x #1
            reap /t -> pointless
            delete /t/x -> 10 delete /t/x
            reap /t -> 11 delete /t
            create /p -> 12 create /p #3
            reap /p 1 -> pointless
            container /d -> 13 create /d container #4
            reap /d 100 -> 14 delete /d
            create /d/x -> 15 error -101
        "#]],
    );
}

#[test]
fn k2_k3_hard_quotas_refuse_and_soft_ones_warn() {
    let options = Options { enforce_quota: true, ..Options::default() };
    check_with(
        options,
        "create /q
         apply
         quota /q -1 -1 3 10
         create /q/a data=12345
         create /q/b data=123456
         create /q/b
         create /q/c
         delete /q/b
         create /q/c flags=1
         create /q/d
         set /q/a data=12345678901 v=7
         set /q/a data=1234567890
         multi delete /q/c ; create /q/c data=x
         close
         s2 create /q/e
         s2 set /q data=1
         s2 set /q data=
         apply
         quota /q 1 2 -1 -1
         s2 create /q/f data=123
         s2 set /q/f data=12
         apply
         quota /q -1 -1 -1 3
         s2 set /q/a data=123456
         s2 set /q/a data=abcdefghij
         s2 set /q/a data=
         s2 set /q/a data=
         s2 create /out data=123456
         junk-quota /q
         s2 create /q/z
         s2 set /q/a
         s2 delete /q/a",
        expect![[r#"
            create /q -> 3 create /q #1
            create /q/a data=12345 -> 4 create /q/a 12345 #1
            create /q/b data=123456 -> 5 error -125
            create /q/b -> 6 create /q/b #2
            create /q/c -> 7 error -125
            delete /q/b -> 8 delete /q/b
            create /q/c flags=1 -> 9 create /q/c ephemeral 0x1 #3
            create /q/d -> 10 error -125
            set /q/a data=12345678901 v=7 -> 11 error -125
            set /q/a data=1234567890 -> 12 set /q/a 1234567890 v1
            multi delete /q/c ; create /q/c data=x -> 13 [error 0; error -125]
            close -> 14 close
            s2 create /q/e -> 15 create /q/e #4
            s2 set /q data=1 -> 16 error -125
            s2 set /q data= -> 17 set /q v1
            s2 create /q/f data=123 -> 18 create /q/f 123 #5 (soft Count 4 of 1)
            s2 set /q/f data=12 -> 19 set /q/f 12 v1 (soft Bytes 12 of 2)
            s2 set /q/a data=123456 -> 20 error -125
            s2 set /q/a data=abcdefghij -> 21 set /q/a abcdefghij v2
            s2 set /q/a data= -> 22 set /q/a v3
            s2 set /q/a data= -> 23 set /q/a v4
            s2 create /out data=123456 -> 24 create /out 123456 #2
            s2 create /q/z -> 25 error -5
            s2 set /q/a -> 26 error -5
            s2 delete /q/a -> 27 delete /q/a
        "#]],
    );
}

#[test]
fn k5_k6_what_clients_may_not_ask() {
    check(
        "reconfig\nget /\ncheck /",
        expect![[r#"
        reconfig -> 3 error -123
        get / -> refused -6
        check / -> refused -6
    "#]],
    );
    let options = Options { reconfig_enabled: true, ..Options::default() };
    check_with(
        options,
        "reconfig\ns9 reconfig",
        expect![[r#"
        reconfig -> 3 error -6
        s9 reconfig -> 4 error -112
    "#]],
    );
}

#[test]
fn k8_a_limits_node_on_the_root_is_a_plain_node() {
    check(
        "create /zookeeper/quota/zookeeper_limits data=junk",
        expect![[r#"
        create /zookeeper/quota/zookeeper_limits data=junk -> 3 create /zookeeper/quota/zookeeper_limits junk #1
    "#]],
    );
}

/// X9: what ZooKeeper does at the end of the counter depends on the prefix; here it is plain.
#[test]
fn x9_a_spent_sequence_counter_answers_node_exists_and_gives_no_name_twice() {
    check(
        "create /s
         apply
         cversion /s 2147483646
         create /s/a flags=2
         create /s/a flags=2
         create /s/b flags=2
         create /s/plain
         create /s/c flags=3",
        expect![[r#"
            create /s -> 3 create /s #1
            create /s/a flags=2 -> 4 create /s/a2147483646 #2147483647
            create /s/a flags=2 -> 5 error -110
            create /s/b flags=2 -> 6 error -110
            create /s/plain -> 7 create /s/plain #2147483647
            create /s/c flags=3 -> 8 error -110
        "#]],
    );
}
