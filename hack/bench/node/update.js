"use strict";

// What one would write instead of using an operator: read each twin and update it, some at a time, with Microsoft's service client. It prints a JSON
// line with the seconds that it took. azure-iothub comes from test/conformance/service (NODE_PATH), as does the hook that makes it dial the simulator.

const { Registry } = require("azure-iothub");

const { HUB_CONNECTION_STRING, PREFIX, COUNT, CONCURRENCY } = process.env;
const registry = Registry.fromConnectionString(HUB_CONNECTION_STRING);
const count = Number(COUNT);
let next = 0;

async function update(i) {
  const id = `${PREFIX}-${String(i).padStart(5, "0")}`;
  const twin = (await registry.getTwin(id)).responseBody;
  const desired = {
    interval: i,
    thermostat1: { __t: "c", targetTemperature: 20.5 + (i % 10) },
    thermostat2: { __t: "c", targetTemperature: 19.5 + (i % 10) },
  };
  await registry.updateTwin(id, { properties: { desired } }, twin.etag);
}

async function worker() {
  while (next < count) {
    await update(next++);
  }
}

async function main() {
  const began = process.hrtime.bigint();
  await Promise.all(Array.from({ length: Number(CONCURRENCY) }, worker));
  console.log(JSON.stringify({ seconds: Number(process.hrtime.bigint() - began) / 1e9 }));
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
