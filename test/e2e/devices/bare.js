'use strict';
// One device on Microsoft's device client that does nothing of its own accord, for hack/hubcheck: a JSON command per line on
// stdin, and per line on stdout what became of it and whatever the hub sent, as it was on the wire. It ends with stdin.

const { promisify } = require('node:util');
const readline = require('node:readline');
const { NoRetry } = require('azure-iot-common');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
let client;
let twin;

/** The client's own connection: topics and bodies show there as they come, before the client makes its own of them. */
const wire = (of) => of._transport._mqtt;

const commands = {
  /** Connects; where methods are named the device takes direct methods and answers those of its plan, and no others. */
  async connect({ connectionString, model, ca, methods = {} }) {
    const one = Client.fromConnectionString(connectionString, Mqtt);
    one.setRetryPolicy(new NoRetry());
    await one.setOptions({ ...(ca ? { ca } : {}), ...(model ? { modelId: model } : {}) });
    wire(one).on('message', (topic, payload) => tell({ event: 'message', topic, payload: payload.toString() }));
    one.on('disconnect', () => one === client && tell({ event: 'disconnected' }));
    one.on('error', (err) => tell({ event: 'error', message: err.message }));
    client = one;
    await one.open();
    for (const [name, answer] of Object.entries(methods)) {
      one.onDeviceMethod(name, (_, response) => answer && response.send(answer.status, answer.payload, () => {}));
    }
    twin = await one.getTwin();
    twin.on('error', (err) => tell({ event: 'error', message: err.message }));
    await promisify(twin.enableTwinDesiredPropertiesUpdates.bind(twin))();
  },
  /** What the hub answers to a report is told as a message; the client tells no more than that it failed. */
  report: ({ patch }) => promisify((p, done) => twin.properties.reported.update(p, () => done()))(patch),
  async telemetry({ component, body }) {
    const message = new Message(JSON.stringify(body));
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    message.properties.add('$.sub', component);
    await client.sendEvent(message);
  },
  /** Publishes what the client itself would not. */
  async publish({ topic, body, qos }) {
    wire(client).publish(topic, body, { qos, retain: false }, () => {});
  },
  async close() {
    const one = client;
    client = undefined;
    one?.removeAllListeners();
    await one?.close().catch(() => {}); // the hub may have ended it
  },
};

async function execute(line) {
  const { seq, command, ...more } = JSON.parse(line);
  try {
    await commands[command](more);
    tell({ event: 'done', seq });
  } catch (err) {
    tell({ event: 'failed', seq, name: err.name, message: err.message });
  }
}

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', execute);
lines.on('close', async () => {
  await commands.close();
  process.exit(0);
});
