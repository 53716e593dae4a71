"use strict";

// Does one task with Microsoft's client for Node. The task comes as JSON on standard input, what was seen goes as JSON to
// standard output. node_test.go says which tasks there are, and compares.

const { createHash } = require("node:crypto");
const { text } = require("node:stream/consumers");
const { EventHubConsumerClient, earliestEventPosition } = require("@azure/event-hubs");

const tasks = { read, own, properties };

async function main() {
  const task = JSON.parse(await text(process.stdin));
  setTimeout(() => give(new Error(`not done after ${task.TimeoutMs} ms`)), task.TimeoutMs).unref();
  const clients = [];
  const connect = () => {
    const retryOptions = { maxRetries: 0, timeoutInMs: task.TimeoutMs };
    const options = { retryOptions, customEndpointAddress: task.CustomEndpoint || undefined };
    const client = new EventHubConsumerClient(task.Group, task.ConnectionString, options);
    clients.push(client);
    return client;
  };
  const seen = await tasks[task.Do](task, connect).catch((err) => ({ Error: named(err) }));
  await Promise.all(clients.map((c) => c.close()));
  process.stdout.write(JSON.stringify(seen));
}

/** read reads every partition from its beginning until it has as many events as there should be. */
async function read(task, connect) {
  const client = connect();
  const partitions = Object.entries(task.Counts).map(([id, count]) => readPartition(client, id, count, task.Sample));
  return { Records: Object.fromEntries(await Promise.all(partitions)) };
}

function readPartition(client, id, count, sample) {
  const records = [];
  return new Promise((resolve, reject) => {
    const subscription = client.subscribe(
      id,
      {
        processEvents: async (events) => {
          records.push(...events.map((e) => recordOf(e, sample)));
          if (records.length >= count) subscription.close().then(() => resolve([id, records]), reject);
        },
        processError: async (err) => reject(err),
      },
      { startPosition: earliestEventPosition, maxBatchSize: 200, skipParsingBodyAsJson: true },
    );
  });
}

/** recordOf is an event in the form in which node_test.go compares. */
function recordOf(e, sample) {
  const record = {
    Sequence: e.sequenceNumber,
    Offset: e.offset,
    Enqueued: e.enqueuedTimeUtc.getTime(),
    Body: createHash("sha256").update(e.body).digest("hex"),
  };
  if (e.sequenceNumber % sample === 0) record.Details = detailsOf(e);
  return record;
}

/** The client mixes the fields of the properties section into the system properties. */
const mixedIn = new Set(["messageId", "userId", "correlationId", "contentType", "contentEncoding"]);

function detailsOf(e) {
  const { properties } = e.getRawAmqpMessage();
  return {
    MessageID: e.messageId,
    CorrelationID: e.correlationId,
    ContentType: e.contentType,
    ContentEncoding: properties.contentEncoding,
    // The client makes an object of the bytes, with their positions as names.
    UserID: Buffer.from(Object.values(e.systemProperties?.userId ?? {})).toString("hex"),
    PartitionKey: e.partitionKey,
    Properties: e.properties,
    System: Object.fromEntries(Object.entries(e.systemProperties ?? {}).filter(([name]) => !mixedIn.has(name))),
  };
}

/** own tells what becomes of readers of one partition that have different owner levels. */
async function own(task, connect) {
  const first = open(connect(), task.Partition, 1);
  await first.event;
  const second = open(connect(), task.Partition, 2);
  await second.event;
  return {
    Evicted: named(await first.error),
    Lower: named(await open(connect(), task.Partition, 1).error),
    Without: named(await open(connect(), task.Partition).error),
  };
}

/** open subscribes, and has a promise of the first event and of the first error, behind which it does not try again. */
function open(client, partition, ownerLevel) {
  const opened = {};
  opened.error = new Promise((failed) => {
    opened.event = new Promise((received, unreceived) => {
      const subscription = client.subscribe(
        partition,
        {
          processEvents: async (events) => events.length > 0 && received(),
          processError: async (err) => {
            unreceived(err);
            failed(err);
            subscription.close().catch(give);
          },
        },
        { startPosition: earliestEventPosition, ownerLevel },
      );
    });
  });
  opened.event.catch(() => {}); // who waits for it sees it
  return opened;
}

/** properties asks what the event hub and its partitions say of themselves. */
async function properties(task, connect) {
  const client = connect();
  const hub = await client.getEventHubProperties();
  const partitions = await Promise.all(hub.partitionIds.map((id) => client.getPartitionProperties(id)));
  return {
    Name: hub.name,
    Partitions: partitions.map((p) => ({
      ID: p.partitionId,
      Hub: p.eventHubName,
      Begin: p.beginningSequenceNumber,
      Last: p.lastEnqueuedSequenceNumber,
      LastOffset: p.lastEnqueuedOffset,
      LastTime: p.lastEnqueuedOnUtc.getTime(),
      IsEmpty: p.isEmpty,
    })),
  };
}

function named(err) {
  return `${err.code ?? err.name}: ${err.message}`;
}

function give(err) {
  console.error(err);
  process.exit(1);
}

main().catch(give);
