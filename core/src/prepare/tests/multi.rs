//! Checklist H of the client protocol.

use super::{Options, check, check_with, expect};

#[test]
fn h1_h2_h9_h11_a_multi_sees_its_own_parts() {
    check(
        "multi
         multi create /a ; create2 /a/b data=x ; set /a/b data=y v=0 ; check /a/b v=1 ; \
         create /a/s flags=2 ; create /a/s flags=3 ; delete /a/b v=1 ; container /a/c
         multi create /d ; delete /d ; create /d ; delete /d
         delete /d
         create /a/s flags=2",
        expect![[r#"
            multi -> 3 []
            multi create /a ; create2 /a/b data=x ; set /a/b data=y v=0 ; check /a/b v=1 ; create /a/s flags=2 ; create /a/s flags=3 ; delete /a/b v=1 ; container /a/c -> 4 [create /a #1; create /a/b x #1; set /a/b y v1; check /a/b; create /a/s0000000001 #2; create /a/s0000000002 ephemeral 0x1 #3; delete /a/b; create /a/c container #4]
            multi create /d ; delete /d ; create /d ; delete /d -> 5 [create /d #2; delete /d; create /d #3; delete /d]
            delete /d -> 6 error -101
            create /a/s flags=2 -> 7 create /a/s0000000004 #5
        "#]],
    );
}

#[test]
fn h3_h5_a_multi_fails_as_a_whole_and_leaves_nothing() {
    check(
        "create /a
         multi create /b ; create /a ; delete /nope ; set /a
         multi set /a data=1 ; create /a/x- flags=2 ; create /a/e flags=1 ; check /nope
         multi delete /a ; check /b
         multi check /a v=3
         create /a/x- flags=2
         create /r acl=2:world:anyone
         multi set /r ; check /r v=0
         set /a v=0
         delete /r v=1
         delete /r v=0
         s2 multi create /z flags=1 ; delete /nope
         s2 close
         create /z
         s2 multi create /y
         s2 multi",
        expect![[r#"
            create /a -> 3 create /a #1
            multi create /b ; create /a ; delete /nope ; set /a -> 4 [error 0; error -110; error -2; error -2]
            multi set /a data=1 ; create /a/x- flags=2 ; create /a/e flags=1 ; check /nope -> 5 [error 0; error 0; error 0; error -101]
            multi delete /a ; check /b -> 6 [error 0; error -101]
            multi check /a v=3 -> 7 [error -103]
            create /a/x- flags=2 -> 8 create /a/x-0000000000 #1
            create /r acl=2:world:anyone -> 9 create /r [2:world:anyone] #2
            multi set /r ; check /r v=0 -> 10 [error 0; error -102]
            set /a v=0 -> 11 set /a v1
            delete /r v=1 -> 12 error -103
            delete /r v=0 -> 13 delete /r
            s2 multi create /z flags=1 ; delete /nope -> 14 [error 0; error -101]
            s2 close -> 15 close
            create /z -> 16 create /z #3
            s2 multi create /y -> 17 [error -112]
            s2 multi -> 18 []
        "#]],
    );
}

#[test]
fn h6_flags_decide_inside_a_multi() {
    let script = "multi create /c flags=4 ; create2 /d flags=4 ; ttl /e flags=4
         multi create /f flags=5
         multi create2 /f flags=6
         multi container /f flags=5
         multi create /f flags=9
         multi container /f flags=-1
         multi container /g flags=1 ; container /h flags=0
         multi ttl /i ttl=5 ; ttl /j flags=6 ttl=7
         multi ttl /k ttl=0
         multi ttl /k flags=0 ttl=0 ; ttl /l flags=1 ; ttl /m flags=3
         multi create /n ; ttl /o flags=7";
    check(
        script,
        expect![[r#"
        multi create /c flags=4 ; create2 /d flags=4 ; ttl /e flags=4 -> 3 [create /c container #1; create /d container #2; create /e container #3]
        multi create /f flags=5 -> refused -5
        multi create2 /f flags=6 -> refused -5
        multi container /f flags=5 -> refused -5
        multi create /f flags=9 -> refused -5
        multi container /f flags=-1 -> refused -5
        multi container /g flags=1 ; container /h flags=0 -> 4 [create /g container #4; create /h container #5]
        multi ttl /i ttl=5 ; ttl /j flags=6 ttl=7 -> 5 [create /i ttl 5 #6; create /j0000000006 ttl 7 #7]
        multi ttl /k ttl=0 -> 6 [error -8]
        multi ttl /k flags=0 ttl=0 ; ttl /l flags=1 ; ttl /m flags=3 -> 7 [create /k #8; create /l ephemeral 0x1 #9; create /m0000000009 ephemeral 0x1 #10]
        multi create /n ; ttl /o flags=7 -> 8 [error 0; error -8]
    "#]],
    );
    check_with(
        Options::default(),
        script,
        expect![[r#"
        multi create /c flags=4 ; create2 /d flags=4 ; ttl /e flags=4 -> 3 [create /c container #1; create /d container #2; create /e container #3]
        multi create /f flags=5 -> refused -5
        multi create2 /f flags=6 -> refused -5
        multi container /f flags=5 -> refused -5
        multi create /f flags=9 -> refused -5
        multi container /f flags=-1 -> refused -5
        multi container /g flags=1 ; container /h flags=0 -> 4 [create /g container #4; create /h container #5]
        multi ttl /i ttl=5 ; ttl /j flags=6 ttl=7 -> 5 [error -6; error -2]
        multi ttl /k ttl=0 -> 6 [error -6]
        multi ttl /k flags=0 ttl=0 ; ttl /l flags=1 ; ttl /m flags=3 -> 7 [create /k #6; create /l ephemeral 0x1 #7; create /m0000000007 ephemeral 0x1 #8]
        multi create /n ; ttl /o flags=7 -> 8 [error 0; error -8]
    "#]],
    );
}

#[test]
fn h7_a_multi_that_holds_what_it_may_not_is_refused_without_a_zxid() {
    check(
        "multi setacl /
         multi create /a ; get /
         multi create /a ; close
         multi multi
         multi create /a acl=null
         multi create /a acl=empty
         multi nullpath
         create /b",
        expect![[r#"
            multi setacl / -> refused -5
            multi create /a ; get / -> refused -5
            multi create /a ; close -> refused -5
            multi multi -> refused -5
            multi create /a acl=null -> refused -5
            multi create /a acl=empty -> 3 [error -114]
            multi nullpath -> refused -5
            create /b -> 4 create /b #1
        "#]],
    );
}
