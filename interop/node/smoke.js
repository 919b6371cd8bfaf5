// Checks a server through node-zookeeper-client. The address comes in SERVER.
'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const zookeeper = require('node-zookeeper-client');

const { ACL, CreateMode, Event, Exception, Id, Permission } = zookeeper;
let passed = 0;

// A wait that nothing ends is a failure, not a run without an end.
setTimeout(() => {
  console.error('FAILED: not done within 50 s');
  process.exit(1);
}, 50_000).unref();

function call(client, method, ...args) {
  return new Promise((resolve, reject) => {
    client[method](...args, (error, ...values) => (error ? reject(error) : resolve(values)));
  });
}

async function refused(promise, code, claim) {
  await assert.rejects(promise, (error) => error.getCode() === code, claim);
  passed += 1;
}

function check(holds, claim) {
  assert.ok(holds, claim);
  passed += 1;
}

async function connect() {
  const client = zookeeper.createClient(process.env.SERVER, { sessionTimeout: 10_000 });
  const connected = once(client, 'connected');
  client.connect();
  await connected;
  return client;
}

// The client knows no sync, and its server may be behind the other's. A write is answered when the
// server has come to it, also one that is refused.
async function caughtUp(client) {
  await call(client, 'setData', '/node', Buffer.from('x'), 99).catch(() => {});
}

function watched(client, method, path) {
  let fired;
  const event = new Promise((resolve) => { fired = resolve; });
  return call(client, method, path, fired).then((values) => ({ event, values }));
}

async function main() {
  const first = await connect();
  const second = await connect();

  check((await call(first, 'create', '/node', Buffer.from('one')))[0] === '/node', 'create');
  await refused(call(first, 'create', '/node'), Exception.NODE_EXISTS, 'a second create');
  const [data, stat] = await call(first, 'getData', '/node');
  check(data.toString() === 'one' && stat.version === 0, 'getData returns what create stored');
  await refused(call(first, 'setData', '/node', Buffer.from('x'), 7), Exception.BAD_VERSION, 'set');
  check((await call(first, 'setData', '/node', Buffer.from('two'), 0))[0].version === 1, 'setData');
  await refused(call(first, 'getData', '/none'), Exception.NO_NODE, 'a missing node');

  const dataWatch = await watched(first, 'getData', '/node');
  const childWatch = await watched(first, 'getChildren', '/node');
  const existWatch = await watched(first, 'exists', '/node/late');
  check(!existWatch.values[0], 'a missing node does not exist');
  await call(second, 'create', '/node/late', null, CreateMode.EPHEMERAL);
  check((await existWatch.event).getType() === Event.NODE_CREATED, 'the exist watch fires');
  check((await childWatch.event).getType() === Event.NODE_CHILDREN_CHANGED, 'the child watch fires');
  await call(second, 'setData', '/node', Buffer.from('three'));
  check((await dataWatch.event).getPath() === '/node', 'the data watch fires');

  const [sequential] = await call(
    first, 'create', '/node/s-', Buffer.alloc(0), CreateMode.EPHEMERAL_SEQUENTIAL);
  check(sequential === '/node/s-0000000001', `a sequential node: ${sequential}`);
  await call(first, 'mkdirp', '/node/a/b/c');
  await caughtUp(second);
  check((await call(second, 'exists', '/node/a/b/c'))[0], 'mkdirp makes every level');

  const [results] = await call(
    first.transaction().create('/node/m', Buffer.from('x')).setData('/node/m', Buffer.from('y'), 0)
      .check('/node/m', 1), 'commit');
  check(results.length === 3, 'a transaction answers for each part');
  await refused(
    call(first.transaction().remove('/node/m', 1).check('/node', 99), 'commit'),
    Exception.BAD_VERSION, 'a transaction that fails');
  await caughtUp(second);
  check((await call(second, 'exists', '/node/m'))[0], 'and changes nothing');

  first.addAuthInfo('digest', Buffer.from('node:pw'));
  await call(first, 'create', '/node/secret', Buffer.from('s'),
    [new ACL(Permission.ALL, new Id('auth', ''))], CreateMode.PERSISTENT);
  await caughtUp(second);
  await refused(call(second, 'getData', '/node/secret'), Exception.NO_AUTH, 'others may not read');
  check((await call(first, 'getData', '/node/secret'))[0].toString() === 's', 'the owner may');
  check((await call(first, 'getACL', '/node/secret'))[0][0].id.scheme === 'digest', 'its ACL');

  const gone = await watched(first, 'exists', '/node/late');
  second.close();
  check((await gone.event).getType() === Event.NODE_DELETED, 'close takes ephemerals with it');
  first.close();
  console.log(`node-zookeeper-client: ${passed} passed, 0 failed`);
}

main().then(() => process.exit(0), (error) => {
  console.error('FAILED', error);
  process.exit(1);
});
