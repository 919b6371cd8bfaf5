// Checks a server through go-zookeeper. The address comes in SERVER, or several with commas.
package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

const patience = 20 * time.Second

var passed int

func check(holds bool, claim string, details ...any) {
	if !holds {
		fmt.Println("FAILED", claim, details)
		os.Exit(1)
	}
	passed++
}

func ok(err error, claim string) {
	check(err == nil, claim, err)
}

func connect(server string) *zk.Conn {
	connection, events, err := zk.Connect(strings.Split(server, ","), 10*time.Second, zk.WithLogInfo(false))
	ok(err, "connect")
	deadline := time.After(patience)
	for {
		select {
		case event := <-events:
			if event.State == zk.StateHasSession {
				return connection
			}
		case <-deadline:
			check(false, "a session within the time")
		}
	}
}

func await(events <-chan zk.Event, kind zk.EventType, path string) {
	select {
	case event := <-events:
		check(event.Type == kind && event.Path == path, "the event", event, kind, path)
	case <-time.After(patience):
		check(false, "an event within the time", kind, path)
	}
}

func main() {
	server := os.Getenv("SERVER")
	open := zk.WorldACL(zk.PermAll)
	first, second := connect(server), connect(server)

	path, err := first.Create("/go", []byte("one"), 0, open)
	ok(err, "create")
	check(path == "/go", "create returns the path", path)
	_, err = first.Create("/go", nil, 0, open)
	check(err == zk.ErrNodeExists, "a second create is refused", err)
	data, stat, err := first.Get("/go")
	ok(err, "get")
	check(string(data) == "one" && stat.Version == 0, "get returns what create stored")
	_, err = first.Set("/go", []byte("two"), 5)
	check(err == zk.ErrBadVersion, "set with a wrong version", err)
	stat, err = first.Set("/go", []byte("two"), 0)
	ok(err, "set")
	check(stat.Version == 1, "set raises the version")
	_, _, err = first.Get("/none")
	check(err == zk.ErrNoNode, "get of a missing node", err)

	_, _, data1, err := first.GetW("/go")
	ok(err, "watch data")
	_, _, children1, err := first.ChildrenW("/go")
	ok(err, "watch children")
	there, _, exist1, err := first.ExistsW("/go/late")
	ok(err, "watch a missing node")
	check(!there, "it is missing")
	_, err = second.Create("/go/late", nil, zk.FlagEphemeral, open)
	ok(err, "create of an ephemeral by another session")
	await(exist1, zk.EventNodeCreated, "/go/late")
	await(children1, zk.EventNodeChildrenChanged, "/go")
	_, err = second.Set("/go", []byte("three"), -1)
	ok(err, "set by another session")
	await(data1, zk.EventNodeDataChanged, "/go")

	path, err = first.CreateProtectedEphemeralSequential("/go/p-", nil, open)
	ok(err, "create of a protected sequential")
	check(strings.HasSuffix(path, "0000000001"), "its number", path)
	container, err := first.CreateContainer("/go/container", nil, zk.FlagContainer, open)
	ok(err, "create of a container")
	check(container == "/go/container", "its path", container)
	_, err = first.CreateTTL("/go/ttl", nil, zk.FlagTTL, open, time.Hour)
	ok(err, "create with a time to live")

	results, err := first.Multi(
		&zk.CreateRequest{Path: "/go/m", Data: []byte("x"), Acl: open},
		&zk.SetDataRequest{Path: "/go/m", Data: []byte("y"), Version: 0},
		&zk.CheckVersionRequest{Path: "/go/m", Version: 1})
	ok(err, "multi")
	check(results[0].String == "/go/m" && results[1].Stat.Version == 1, "its results", results)
	_, err = first.Multi(&zk.DeleteRequest{Path: "/go/m", Version: 1},
		&zk.CheckVersionRequest{Path: "/go", Version: 99})
	check(err == zk.ErrBadVersion, "a multi that fails", err)
	there, _, err = first.Exists("/go/m")
	ok(err, "exists")
	check(there, "a multi that fails changes nothing")

	ok(first.AddAuth("digest", []byte("gopher:pw")), "add a credential")
	_, err = first.Create("/go/secret", []byte("s"), 0, zk.DigestACL(zk.PermAll, "gopher", "pw"))
	ok(err, "create under a digest ACL")
	// Its server may be another one, which is behind.
	_, err = second.Sync("/go")
	ok(err, "sync")
	_, _, err = second.Get("/go/secret")
	check(err == zk.ErrNoAuth, "others may not read", err)
	_, _, err = first.Get("/go/secret")
	ok(err, "the owner may")
	acl, _, err := first.GetACL("/go/secret")
	ok(err, "get the ACL")
	check(len(acl) == 1 && acl[0].Scheme == "digest", "one digest entry", acl)
	_, err = first.Sync("/go")
	ok(err, "sync")

	// Forty increments under a lock, by four sessions, lose nothing.
	_, err = first.Create("/go/count", []byte("0"), 0, open)
	ok(err, "create of a counter")
	var workers sync.WaitGroup
	failures := make(chan error, 4)
	for range 4 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			failures <- increment(connect(server), 10)
		}()
	}
	workers.Wait()
	for range 4 {
		ok(<-failures, "increments under a lock")
	}
	data, _, err = first.Get("/go/count")
	ok(err, "get of the counter")
	check(string(data) == "40", "no increment is lost", string(data))

	_, _, gone, err := first.ExistsW("/go/late")
	ok(err, "watch the ephemeral")
	second.Close()
	await(gone, zk.EventNodeDeleted, "/go/late")
	first.Close()
	fmt.Printf("go-zookeeper: %d passed, 0 failed\n", passed)
}

func increment(connection *zk.Conn, times int) error {
	defer connection.Close()
	lock := zk.NewLock(connection, "/go/lock", zk.WorldACL(zk.PermAll))
	for range times {
		if err := lock.Lock(); err != nil {
			return err
		}
		data, _, err := connection.Get("/go/count")
		if err != nil {
			return err
		}
		var count int
		if _, err = fmt.Sscan(string(data), &count); err != nil {
			return err
		}
		// Without a version: only the lock keeps two sessions apart.
		if _, err = connection.Set("/go/count", fmt.Append(nil, count+1), -1); err != nil {
			return err
		}
		if err = lock.Unlock(); err != nil {
			return err
		}
	}
	return nil
}
