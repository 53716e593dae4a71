"use strict";

// Uses the simulator's service API with Microsoft's service client for Node, and prints one JSON line per check: its name,
// whether it is ok, and why not. service_test.go starts the simulator and hands its address over in the environment.

const assert = require("node:assert/strict");
const { Client, DigitalTwinClient, IoTHubTokenCredentials, Registry } = require("azure-iothub");

const connectionString = process.env.HUB_CONNECTION_STRING;
const registry = Registry.fromConnectionString(connectionString);
const client = Client.fromConnectionString(connectionString);
const digitalTwins = new DigitalTwinClient(new IoTHubTokenCredentials(connectionString));

const key = (letter) => Buffer.from(letter.repeat(32)).toString("base64");
const sas = (primary, secondary) => ({ type: "sas", symmetricKey: { primaryKey: primary, secondaryKey: secondary } });
const stale = "AAAAAAAAA+c=";
const controller = "dtmi:com:example:TemperatureController;1";

const checks = {
  async "create makes keys"() {
    const { responseBody, httpResponse } = await registry.create({ deviceId: "made" });
    assert.equal(httpResponse.statusCode, 200);
    assert.equal(responseBody.deviceId, "made");
    assert.equal(responseBody.status, "enabled");
    assert.equal(Buffer.from(responseBody.authentication.symmetricKey.primaryKey, "base64").length, 32);
    assert.equal(httpResponse.headers.etag, `"${responseBody.etag}"`);
  },

  async "create keeps given keys"() {
    await registry.create({ deviceId: "given", status: "disabled", statusReason: "new", authentication: sas(key("a"), key("b")) });
    const device = (await registry.get("given")).responseBody;
    assert.deepEqual(device.authentication.symmetricKey, { primaryKey: key("a"), secondaryKey: key("b") });
    assert.deepEqual([device.status, device.statusReason], ["disabled", "new"]);
  },

  async "create takes thumbprints"() {
    const x509Thumbprint = { primaryThumbprint: "aB".repeat(20), secondaryThumbprint: "01".repeat(32) };
    const device = (await registry.create({ deviceId: "thumb", authentication: { x509Thumbprint } })).responseBody;
    assert.equal(device.authentication.type, "selfSigned");
    assert.deepEqual(device.authentication.x509Thumbprint, x509Thumbprint);
  },

  async "create of what exists is a DeviceAlreadyExistsError"() {
    await registry.create({ deviceId: "twice" });
    const err = await failure(registry.create({ deviceId: "twice" }), "DeviceAlreadyExistsError", 409);
    assert.equal(err.message, "A device with ID 'twice' is already registered.");
  },

  async "create of an invalid device is an ArgumentError"() {
    await failure(registry.create({ deviceId: "a b" }), "ArgumentError", 400);
    await failure(registry.create({ deviceId: "short", authentication: sas("YQ==", "YQ==") }), "ArgumentError", 400);
  },

  async "an id with every legal character is found"() {
    const deviceId = "aZ9-:.+%_#*?!(),=@;$'";
    await registry.create({ deviceId });
    assert.equal((await registry.get(deviceId)).responseBody.deviceId, deviceId);
    assert.equal((await registry.getTwin(deviceId)).responseBody.deviceId, deviceId);
    await digitalTwins.updateDigitalTwin(deviceId, [{ op: "add", path: "/p", value: 1 }]);
    assert.equal((await digitalTwins.getDigitalTwin(deviceId)).$dtId, deviceId);
    await registry.delete(deviceId);
    await failure(registry.get(deviceId), "DeviceNotFoundError", 404);
  },

  async "get of nobody is a DeviceNotFoundError"() {
    assert.equal((await failure(registry.get("nobody"), "DeviceNotFoundError", 404)).message, "nobody");
  },

  async "callbacks work as promises do"() {
    const args = await new Promise((resolve) => registry.get("nobody", (...a) => resolve(a)));
    assert.equal(args[0].name, "DeviceNotFoundError");
    await registry.create({ deviceId: "called" });
    const [err, device, response] = await new Promise((resolve) => registry.get("called", (...a) => resolve(a)));
    assert.deepEqual([err, device.deviceId, response.statusCode], [null, "called", 200]);
  },

  async "list has every device"() {
    await registry.create({ deviceId: "listed" });
    const { responseBody } = await registry.list();
    assert.ok(responseBody.some((d) => d.deviceId === "listed" && d.authentication.symmetricKey.primaryKey));
  },

  async "update is forced, whatever the etag says"() {
    const device = (await registry.create({ deviceId: "updated" })).responseBody;
    const keys = device.authentication.symmetricKey;
    for (const etag of [device.etag, "MQ==", undefined]) {
      const was = (await registry.get("updated")).responseBody;
      const update = { ...device, status: was.status === "enabled" ? "disabled" : "enabled", etag };
      const now = (await registry.update(update)).responseBody;
      assert.notEqual(now.etag, was.etag);
      assert.equal(now.status, update.status);
      assert.deepEqual(now.authentication.symmetricKey, keys);
    }
  },

  async "update without authentication makes new keys"() {
    const before = (await registry.create({ deviceId: "rekeyed" })).responseBody;
    const after = (await registry.update({ deviceId: "rekeyed" })).responseBody;
    assert.notEqual(after.authentication.symmetricKey.primaryKey, before.authentication.symmetricKey.primaryKey);
    assert.equal(after.generationId, before.generationId);
  },

  async "update of nobody is a DeviceNotFoundError"() {
    await failure(registry.update({ deviceId: "nobody" }), "DeviceNotFoundError", 404);
  },

  async "delete deletes"() {
    await registry.create({ deviceId: "deleted" });
    assert.equal((await registry.delete("deleted")).httpResponse.statusCode, 204);
    await failure(registry.get("deleted"), "DeviceNotFoundError", 404);
    await failure(registry.getTwin("deleted"), "DeviceNotFoundError", 404);
    await failure(registry.delete("deleted"), "DeviceNotFoundError", 404);
  },

  async "statistics count"() {
    const before = (await registry.getRegistryStatistics()).responseBody;
    await registry.addDevices([{ deviceId: "counted-1" }, { deviceId: "counted-2", status: "disabled" }]);
    const after = (await registry.getRegistryStatistics()).responseBody;
    assert.deepEqual(after, {
      totalDeviceCount: before.totalDeviceCount + 2,
      enabledDeviceCount: before.enabledDeviceCount + 1,
      disabledDeviceCount: before.disabledDeviceCount + 1,
    });
  },

  async "addDevices creates 100 at once"() {
    const devices = numbered("bulk", 100).map((deviceId) => ({ deviceId, authentication: sas(key("a"), key("b")) }));
    const { responseBody, httpResponse } = await registry.addDevices(devices);
    assert.equal(httpResponse.statusCode, 200);
    assert.deepEqual(responseBody, { isSuccessful: true, errors: [], warnings: [] });
    assert.equal((await registry.get("bulk-099")).responseBody.authentication.symmetricKey.secondaryKey, key("b"));
  },

  async "addDevices says which one failed"() {
    await registry.create({ deviceId: "partly-2" });
    const result = await bulkFailure(registry.addDevices(["partly-1", "partly-2", "partly-3"].map((deviceId) => ({ deviceId }))));
    assert.equal(result.errors.length, 1);
    const [{ deviceId, errorCode, errorStatus }] = result.errors;
    assert.deepEqual([deviceId, errorCode, errorStatus], ["partly-2", 409001, "A device with ID 'partly-2' is already registered."]);
    await registry.get("partly-1");
    await registry.get("partly-3");
  },

  async "addDevices brings tags and desired properties"() {
    await registry.addDevices([{ deviceId: "twinned", tags: { floor: 2 }, properties: { desired: { speed: 3 } } }]);
    const twin = (await registry.getTwin("twinned")).responseBody;
    assert.deepEqual([twin.tags.floor, twin.properties.desired.speed], [2, 3]);
  },

  async "updateDevices by force"() {
    const devices = (await added("forced", 2)).map((d) => ({ ...d, etag: "MQ==", status: "disabled" }));
    assert.ok((await registry.updateDevices(devices, true)).responseBody.isSuccessful);
    for (const d of devices) {
      const now = (await registry.get(d.deviceId)).responseBody;
      assert.equal(now.status, "disabled");
      assert.deepEqual(now.authentication.symmetricKey, d.authentication.symmetricKey);
    }
  },

  async "updateDevices with etags"() {
    const [fresh, old] = (await added("tagged", 2)).map((d) => ({ ...d, status: "disabled" }));
    const result = await bulkFailure(registry.updateDevices([fresh, { ...old, etag: "MQ==" }, { deviceId: "nobody", etag: "MQ==" }], false));
    assert.deepEqual(result.errors.map((e) => [e.deviceId, e.errorCode]), [[old.deviceId, 412001], ["nobody", 404001]]);
    assert.equal((await registry.get(fresh.deviceId)).responseBody.status, "disabled");
    assert.equal((await registry.get(old.deviceId)).responseBody.status, "enabled");
  },

  async "removeDevices by force and with etags"() {
    const [first, second, third] = await added("removed", 3);
    assert.ok((await registry.removeDevices([{ deviceId: first.deviceId }], true)).responseBody.isSuccessful);
    const result = await bulkFailure(registry.removeDevices([second, { ...third, etag: "MQ==" }], false));
    assert.deepEqual(result.errors.map((e) => [e.deviceId, e.errorCode]), [[third.deviceId, 412001]]);
    await failure(registry.get(first.deviceId), "DeviceNotFoundError", 404);
    await failure(registry.get(second.deviceId), "DeviceNotFoundError", 404);
    await registry.get(third.deviceId);
  },

  async "getTwin is a Twin"() {
    await registry.create({ deviceId: "twin" });
    const twin = (await registry.getTwin("twin")).responseBody;
    assert.equal(twin.constructor.name, "Twin");
    assert.deepEqual([twin.deviceId, twin.etag, twin.version, twin.properties.desired.$version], ["twin", "AAAAAAAAAAE=", 2, 1]);
    await failure(registry.getTwin("nobody"), "DeviceNotFoundError", 404);
  },

  async "twin.update merges, twin.get reads again"() {
    await registry.create({ deviceId: "merged" });
    const twin = (await registry.getTwin("merged")).responseBody;
    await twin.update({ tags: { line: "a", floor: 1 }, properties: { desired: { speed: 1, mode: { eco: true } } } });
    await twin.update({ tags: { floor: null }, properties: { desired: { mode: { eco: null } } } });
    assert.deepEqual([twin.etag, twin.tags], ["AAAAAAAAAAM=", { line: "a" }]);
    const { $metadata, ...desired } = twin.properties.desired;
    assert.deepEqual(desired, { speed: 1, mode: {}, $version: 3 });
    assert.equal($metadata.$lastUpdatedVersion, 3);
    await registry.updateTwin("merged", { tags: { line: "b" } }, "*");
    await twin.get();
    assert.deepEqual([twin.etag, twin.tags], ["AAAAAAAAAAQ=", { line: "b" }]);
  },

  async "twin.update with etag '*' always writes"() {
    await registry.create({ deviceId: "starred" });
    const twin = (await registry.getTwin("starred")).responseBody;
    await registry.updateTwin("starred", { tags: { by: "another" } }, "*");
    twin.etag = "*";
    await twin.update({ tags: { by: "me" } });
    assert.deepEqual([twin.etag, twin.tags], ["AAAAAAAAAAM=", { by: "me" }]);
  },

  async "twin.update with a stale etag is an InvalidEtagError"() {
    await registry.create({ deviceId: "stale" });
    const twin = (await registry.getTwin("stale")).responseBody;
    await registry.updateTwin("stale", { tags: { by: "another" } }, twin.etag);
    await failure(twin.update({ tags: { by: "me" } }), "InvalidEtagError", 412);
    assert.deepEqual((await registry.getTwin("stale")).responseBody.tags, { by: "another" });
  },

  async "updateTwin"() {
    await registry.create({ deviceId: "patched" });
    const { responseBody } = await registry.updateTwin("patched", { properties: { desired: { a: 1 } } }, '"AAAAAAAAAAE="');
    assert.deepEqual([responseBody.etag, responseBody.properties.desired.a], ["AAAAAAAAAAI=", 1]);
    await failure(registry.updateTwin("patched", { tags: {} }, stale), "InvalidEtagError", 412);
    await failure(registry.updateTwin("patched", { tags: { "a.b": 1 } }, "*"), "ArgumentError", 400);
    await failure(registry.updateTwin("nobody", { tags: {} }, "*"), "DeviceNotFoundError", 404);
  },

  async "createQuery pages over 250 devices"() {
    const ids = numbered("queried", 250);
    for (const from of [0, 100, 200]) {
      await registry.addDevices(ids.slice(from, from + 100).map((deviceId) => ({ deviceId, tags: { set: "queried" } })));
    }
    for (const [size, want] of [[undefined, [100, 100, 50]], [100, [100, 100, 50]], [125, [100, 100, 50]], [70, [70, 70, 70, 40]]]) {
      const query = registry.createQuery("SELECT * FROM devices WHERE tags.set = 'queried'", size);
      const pages = [];
      while (query.hasMoreResults) pages.push((await query.nextAsTwin()).result);
      assert.deepEqual(pages.map((p) => p.length), want);
      assert.deepEqual(pages.flat().map((t) => t.deviceId).sort(), ids);
      assert.ok(pages.flat().every((t) => t.constructor.name === "Twin"));
      assert.equal(query.continuationToken, undefined);
    }
  },

  async "createQuery goes on from a continuation token"() {
    const text = "SELECT deviceId FROM devices WHERE tags.set = 'queried'";
    const first = registry.createQuery(text, 100);
    const page = (await first.next()).result;
    const again = registry.createQuery(text, 100);
    const next = (await again.next(first.continuationToken)).result;
    assert.deepEqual((await first.next(first.continuationToken)).result, next); // without it, a promise of next starts over
    assert.equal(new Set([...page, ...next].map((row) => row.deviceId)).size, 200);
  },

  async "createQuery counts"() {
    const { result, message } = await registry.createQuery("SELECT COUNT() AS n FROM devices WHERE tags.set = 'queried'").next();
    assert.deepEqual(result, [{ n: 250 }]);
    assert.equal(message.headers["x-ms-item-type"], "Raw");
  },

  async "a query that makes no sense is an ArgumentError"() {
    await failure(registry.createQuery("SELECT nothing").next(), "ArgumentError", 400);
  },

  async "a wrong key is an UnauthorizedError"() {
    const wrong = connectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${key("z")}`);
    const stranger = Registry.fromConnectionString(wrong);
    await failure(stranger.list(), "UnauthorizedError", 401);
    await failure(stranger.addDevices([{ deviceId: "unauthorized" }]), "UnauthorizedError", 401);
    await failure(stranger.getTwin("twin"), "UnauthorizedError", 401);
    const err = await failure(new DigitalTwinClient(new IoTHubTokenCredentials(wrong)).getDigitalTwin("twin"), "RestError");
    assert.equal(err.statusCode, 401);
  },

  async "a shared access signature is enough"() {
    const signed = (await registry.get("made")).httpResponse.req.getHeader("authorization");
    const other = Registry.fromSharedAccessSignature(signed);
    assert.equal((await other.get("made")).responseBody.deviceId, "made");
  },

  async "429 is a ThrottlingError, which Registry does not retry"() {
    await registry.create({ deviceId: "throttled" });
    await inject({ operation: "GetTwin", device: "throttled", kind: "Status", status: 429 });
    const err = await failure(registry.getTwin("throttled"), "ThrottlingError", 429);
    assert.match(err.message, /^The request has been throttled/);
    assert.deepEqual(await statuses("GetTwin", "throttled"), [429]);
    await registry.getTwin("throttled");
  },

  async "429 is a RestError, which DigitalTwinClient does not retry"() {
    await registry.create({ deviceId: "throttled-dt" });
    await inject({ operation: "GetDigitalTwin", device: "throttled-dt", kind: "Status", status: 429 });
    assert.equal((await failure(digitalTwins.getDigitalTwin("throttled-dt"), "RestError")).statusCode, 429);
    assert.deepEqual(await statuses("GetDigitalTwin", "throttled-dt"), [429]);
    await digitalTwins.getDigitalTwin("throttled-dt");
  },

  async "500 and 503 are errors of their own"() {
    await inject({ operation: "GetTwin", device: "twin", kind: "Status", status: 500 });
    await failure(registry.getTwin("twin"), "InternalServerError", 500);
    await inject({ operation: "GetTwin", device: "twin", kind: "Status", status: 503 });
    await failure(registry.getTwin("twin"), "ServiceUnavailableError", 503);
  },

  async "a reset connection is an error, and the next request connects again"() {
    await inject({ operation: "GetTwin", device: "twin", kind: "ResetBefore" });
    assert.equal((await failure(registry.getTwin("twin"), "Error")).code, "ECONNRESET");
    await registry.getTwin("twin");
  },

  async "getDigitalTwin"() {
    await virtual({ id: "dt-read", model: controller });
    const twin = await digitalTwins.getDigitalTwin("dt-read");
    assert.equal(twin.$dtId, "dt-read");
    assert.equal(twin.$metadata.$model, controller);
    assert.match(twin._response.parsedHeaders.eTag, /^".+"$/);
  },

  async "getDigitalTwin of nobody is 404"() {
    const err = await failure(digitalTwins.getDigitalTwin("nobody"), "RestError");
    assert.equal(err.statusCode, 404);
    assert.equal(err.response.headers.get("iothub-errorcode"), "DeviceNotFound");
  },

  async "updateDigitalTwin"() {
    await registry.create({ deviceId: "dt-update" });
    const patch = (value) => [{ op: "add", path: "/speed", value }];
    const { eTag, location } = await headersOf("updateDigitalTwin", "dt-update", patch(1));
    assert.match(location, /^https:\/\/factory\.azure-devices\.net\/digitaltwins\/dt-update\?/);
    assert.equal(eTag, (await digitalTwins.getDigitalTwin("dt-update"))._response.parsedHeaders.eTag);
    const next = await headersOf("updateDigitalTwin", "dt-update", patch(2), eTag);
    assert.notEqual(next.eTag, eTag);
    assert.equal((await failure(digitalTwins.updateDigitalTwin("dt-update", patch(3), eTag), "RestError")).statusCode, 412);
    const twin = await digitalTwins.getDigitalTwin("dt-update");
    assert.deepEqual(twin.$metadata.speed, { desiredValue: 2, desiredVersion: 3 });
  },

  async "updateDigitalTwin refuses nonsense"() {
    await registry.create({ deviceId: "dt-refuse" });
    const refused = await failure(digitalTwins.updateDigitalTwin("dt-refuse", [{ op: "add", path: "speed", value: 1 }]), "RestError");
    assert.deepEqual([refused.statusCode, refused.response.headers.get("iothub-errorcode")], [400, "InvalidDigitalTwinPatch"]);
    const missing = await failure(digitalTwins.updateDigitalTwin("nobody", [{ op: "add", path: "/p", value: 1 }]), "RestError");
    assert.equal(missing.statusCode, 404);
  },

  async "invokeDeviceMethod answers"() {
    await virtual({ id: "method", model: controller });
    const { result, message } = await client.invokeDeviceMethod("method", { methodName: "reboot", payload: 3 });
    assert.equal(message.statusCode, 200);
    assert.equal(result.status, 200);
    const other = await client.invokeDeviceMethod("method", { methodName: "thermostat1*getMaxMinReport", payload: null, responseTimeoutInSeconds: 5 });
    assert.equal(typeof other.result.payload.avgTemp, "number");
    const unknown = await client.invokeDeviceMethod("method", { methodName: "dance" });
    assert.equal(unknown.result.status, 404);
  },

  async "invokeDeviceMethod of what is offline is 404 with 404103"() {
    await virtual({ id: "method-offline", model: controller, offline: true });
    const err = await failure(client.invokeDeviceMethod("method-offline", { methodName: "reboot" }), "Error", 404);
    assert.equal(err.message, "Not found");
    const inner = JSON.parse(JSON.parse(err.responseBody).Message);
    assert.equal(inner.errorCode, 404103);
    assert.equal(err.response.headers["iothub-errorcode"], "DeviceNotOnline");
  },

  async "invokeDeviceMethod of nobody is a DeviceNotFoundError"() {
    await failure(client.invokeDeviceMethod("nobody", { methodName: "reboot" }), "DeviceNotFoundError", 404);
  },

  async "invokeDeviceMethod with bad timeouts is an ArgumentError"() {
    const params = { methodName: "reboot", responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 6 };
    await failure(client.invokeDeviceMethod("method", params), "ArgumentError", 400);
  },

  async "429 and 503 are retried by invokeDeviceMethod"() {
    await virtual({ id: "method-retried", model: controller });
    await inject({ operation: "InvokeMethod", device: "method-retried", kind: "Status", status: 503 });
    await inject({ operation: "InvokeMethod", device: "method-retried", kind: "Status", status: 429 });
    const { result } = await client.invokeDeviceMethod("method-retried", { methodName: "reboot" });
    assert.equal(result.status, 200);
    assert.deepEqual(await statuses("InvokeMethod", "method-retried"), [503, 429, 200]);
  },

  async "invokeCommand"() {
    await virtual({ id: "command", model: controller });
    const result = await digitalTwins.invokeCommand("command", "reboot", 3);
    assert.equal(result.xMsCommandStatuscode, 200);
    assert.ok(result.xMsRequestId);
  },

  async "invokeComponentCommand"() {
    await virtual({ id: "component", model: controller });
    const since = "2026-01-02T03:04:05Z";
    const result = await digitalTwins.invokeComponentCommand("component", "thermostat1", "getMaxMinReport", since, {
      connectTimeoutInSeconds: 0,
      responseTimeoutInSeconds: 10,
    });
    assert.equal(result.xMsCommandStatuscode, 200);
    assert.equal(typeof result.body.avgTemp, "number");
  },

  async "a command that the device does not know has its status"() {
    await virtual({ id: "unknown", model: controller });
    const result = await digitalTwins.invokeCommand("unknown", "dance", {});
    assert.deepEqual([result.xMsCommandStatuscode, result.body], [404, "unknown command"]);
  },

  async "a command for what is offline is 404 with 404103"() {
    await virtual({ id: "command-offline", model: controller, offline: true });
    const err = await failure(digitalTwins.invokeCommand("command-offline", "reboot", 3), "RestError");
    assert.deepEqual([err.statusCode, err.response.headers.get("iothub-errorcode")], [404, "DeviceNotOnline"]);
    assert.match(err.message, /404103/);
  },
};

/** failure is the error that a promise has to end with; Registry's errors carry the response. */
async function failure(promise, name, status) {
  const err = await promise.then((got) => assert.fail(`got ${JSON.stringify(got)}, want ${name}`), (err) => err);
  if (err instanceof assert.AssertionError) throw err;
  assert.equal(err.constructor.name, name, err.stack);
  if (status !== undefined) assert.equal(err.response.statusCode, status, err.stack);
  return err;
}

/** bulkFailure is the result of a bulk request of which a part failed: the SDK has it in the error's body only. */
async function bulkFailure(promise) {
  const result = JSON.parse((await failure(promise, "ArgumentError", 400)).responseBody);
  assert.equal(result.isSuccessful, false);
  return result;
}

/** headersOf are those that the SDK has parsed; a promise does not show them where there is no body. */
function headersOf(method, ...args) {
  return new Promise((resolve, reject) => {
    digitalTwins[method](...args, (err, result, response) => (err ? reject(err) : resolve(response.parsedHeaders)));
  });
}

const numbered = (name, count) => Array.from({ length: count }, (_, i) => `${name}-${String(i).padStart(3, "0")}`);

/** added creates devices in bulk and returns them as the registry has them. */
async function added(name, count) {
  const ids = numbered(name, count);
  await registry.addDevices(ids.map((deviceId) => ({ deviceId })));
  return Promise.all(ids.map(async (id) => ({ ...(await registry.get(id)).responseBody })));
}

const inject = (fault) => debug("POST", "/faults", fault);
const virtual = (device) => debug("POST", "/devices", device);

async function statuses(operation, device) {
  const calls = await debug("GET", `/calls?operation=${operation}&device=${device}`);
  return calls.map((c) => c.status);
}

/** debug asks the simulator's debug API. */
async function debug(method, path, body) {
  const response = await fetch(process.env.SIMULATOR_DEBUG_URL + path, { method, body: body && JSON.stringify(body) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

async function main() {
  process.exitCode = 2; // unless it comes to the end
  for (const [name, run] of Object.entries(checks)) {
    const detail = await run().then(() => "", (err) => err.stack || String(err));
    process.stdout.write(JSON.stringify({ name, ok: detail === "", detail }) + "\n");
  }
  process.exit(0);
}

main();
