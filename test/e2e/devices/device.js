'use strict';
// One device on Microsoft's device client: its connection, what it does with desired properties, and its commands.

const { promisify } = require('node:util');
const { setTimeout: sleep } = require('node:timers/promises');
const fs = require('node:fs');
const { NoRetry } = require('azure-iot-common');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const conventions = require('./conventions');
const { modelOf } = require('./models');

class Device {
  /** options: {id, connectionString, model, ca, cert, key, behaviours}; tell(event) is told what happens. */
  constructor(options, tell) {
    this.options = options;
    this.tell = (event) => tell({ id: options.id, ...event });
    this.model = modelOf(options.model);
    this.behaviours = options.behaviours ?? {};
    this.answers = {};
    this.counts = {};
    this.held = {}; // values that the device holds, by property
  }

  async start() {
    const client = Client.fromConnectionString(this.options.connectionString, Mqtt);
    // The tests want to see a refusal at once; coming back is the device's own affair, below.
    client.setRetryPolicy(new NoRetry());
    await client.setOptions(this.clientOptions());
    await client.open();
    this.client = client;
    this.stopping = false;
    client.on('disconnect', () => this.lost(client));
    for (const name of Object.keys({ ...this.model.commands, ...this.answers })) this.listen(name);
    await this.synchronize();
  }

  clientOptions() {
    const { ca, cert, key, model } = this.options;
    const own = cert ? { cert: fs.readFileSync(cert, 'utf8'), key: fs.readFileSync(key, 'utf8') } : {};
    return { ca, ...own, ...(model ? { modelId: model } : {}) };
  }

  /** Reads the twin once notifications come, so that none is missed, and answers what is due. */
  async synchronize() {
    const twin = await this.client.getTwin();
    this.twin = twin;
    this.desired = undefined;
    twin.on('properties.desired', (patch) => this.notified(patch));
    await promisify(twin.enableTwinDesiredPropertiesUpdates.bind(twin))();
    await twin.get();
    // Copies: the client goes on merging into its own.
    const now = structuredClone({ desired: { ...twin.properties.desired }, reported: plain(twin.properties.reported) });
    this.desired = now.desired;
    await this.report(conventions.firstReport(this.model, now));
    await this.apply(conventions.outstanding(now).map(([property]) => property));
  }

  /** The client also hands over the whole twin here, and what came before it: those have no newer version. */
  async notified(patch) {
    if (!this.desired || patch.$version <= this.desired.$version) return;
    this.desired = conventions.merge(this.desired, patch);
    this.tell({ event: 'desired', version: patch.$version, patch });
    try {
      await this.apply(conventions.properties(patch).filter(([, value]) => value !== null).map(([property]) => property));
    } catch (err) {
      this.tell({ event: 'failed', do: 'acknowledge', message: err.message });
    }
  }

  /** Applies desired properties and acknowledges them in one report. */
  async apply(names) {
    const version = this.desired.$version;
    const values = {};
    for (const property of names) {
      const answer = this.react(property, conventions.lookup(this.desired, property), version);
      if (answer === 'reboot') return void this.reboot(this.behaviours[property].delayMs);
      if (answer) values[property] = answer;
    }
    await this.report(values);
  }

  react(property, value, version) {
    const b = this.behaviours[property] ?? { kind: 'accept' };
    switch (b.kind) {
      case 'ignore':
        return undefined;
      case 'reboot':
        if (this.rebooted) break;
        this.rebooted = true;
        return 'reboot';
      case 'reject':
        return conventions.acknowledgement(this.held[property] ?? this.model.writable[property] ?? null, b.code, version, b.description);
      case 'slow':
        this.finishLater(property, value, version, b.delayMs).catch((err) => this.tell({ event: 'failed', do: 'finish', message: err.message }));
        return conventions.acknowledgement(value, 202, version, 'in progress');
    }
    this.held[property] = value;
    return conventions.acknowledgement(value, 200, version, 'completed');
  }

  async finishLater(property, value, version, delayMs) {
    await sleep(delayMs);
    if (this.stopping || JSON.stringify(conventions.lookup(this.desired, property)) !== JSON.stringify(value)) return;
    this.held[property] = value;
    await this.report({ [property]: conventions.acknowledgement(value, 200, version, 'completed') });
  }

  report(values) {
    return Object.keys(values).length === 0 ? undefined : this.update(conventions.reportOf(values));
  }

  update(patch) {
    return promisify((p, done) => this.twin.properties.reported.update(p, done))(patch);
  }

  listen(name) {
    this.client.onDeviceMethod(name, (request, response) => this.command(name, request, response));
  }

  async command(name, request, response) {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    this.tell({ event: 'command', name, payload: request.payload, count: this.counts[name] });
    const answer = this.answers[name] ?? { status: 200, payload: this.model.commands[name]?.(request.payload) };
    if (answer.silent) return;
    await sleep(answer.delayMs ?? 0);
    await promisify(response.send.bind(response))(answer.status, answer.payload ?? null).catch((err) => this.tell({ event: 'failed', do: 'command', message: err.message }));
    if (name === 'reboot' && answer.status === 200) await this.reboot(100);
  }

  answer(name, answer) {
    const known = name in this.answers || name in this.model.commands;
    this.answers[name] = answer;
    if (!known && this.client) this.listen(name);
  }

  async telemetry(component, body) {
    const message = new Message(JSON.stringify(body));
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    if (component) message.properties.add('$.sub', component);
    await this.client.sendEvent(message);
  }

  /** Loses the connection and all memory, as a device does that is switched off and on. */
  async reboot(offlineMs) {
    await this.stop();
    this.held = {};
    await sleep(offlineMs ?? 0);
    await this.start();
    this.tell({ event: 'rebooted' });
  }

  async stop() {
    this.stopping = true;
    await this.client?.close();
    this.client = undefined;
  }

  /** Comes back after a connection that was lost. */
  async lost(client) {
    if (this.stopping || client !== this.client) return;
    this.tell({ event: 'disconnected' });
    client.removeAllListeners();
    await client.close().catch(() => {}); // it is gone already
    for (let wait = 100; !this.stopping; wait = Math.min(2 * wait, 5000)) {
      await sleep(wait);
      try {
        await this.start();
        return this.tell({ event: 'reconnected' });
      } catch (err) {
        this.tell({ event: 'failed', do: 'reconnect', error: err.name, message: err.message });
      }
    }
  }
}

/** The client hides a function among the reported properties. */
const plain = (section) => JSON.parse(JSON.stringify(section));

module.exports = { Device };
