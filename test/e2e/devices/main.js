'use strict';
// Runs devices for the end-to-end tests: one JSON command per line on stdin, one JSON event per line on stdout. When stdin
// ends, all devices disconnect.

const readline = require('node:readline');
const { Device } = require('./device');

const devices = new Map();
const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

const commands = {
  async start(c) {
    const device = new Device(c, tell);
    await device.start();
    devices.set(c.id, device);
  },
  async stop(c) {
    await get(c.id).stop();
    devices.delete(c.id);
  },
  reboot: (c) => get(c.id).reboot(c.offlineMs),
  async behave(c) {
    get(c.id).behaviours[c.property] = c.behaviour;
    get(c.id).rebooted = false;
  },
  report: (c) => get(c.id).update(c.patch),
  telemetry: (c) => get(c.id).telemetry(c.component, c.body),
  async answer(c) {
    get(c.id).answer(c.command, c.answer);
  },
};

function get(id) {
  const device = devices.get(id);
  if (!device) throw new Error(`no device ${id} is running`);
  return device;
}

async function execute(line) {
  const c = JSON.parse(line);
  try {
    await commands[c.do](c);
    tell({ id: c.id, seq: c.seq, event: 'done', do: c.do });
  } catch (err) {
    tell({ id: c.id, seq: c.seq, event: 'failed', do: c.do, error: err.name, message: err.message });
  }
}

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', execute);
lines.on('close', async () => {
  await Promise.allSettled([...devices.values()].map((d) => d.stop()));
  process.exit(0);
});
