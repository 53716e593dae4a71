"use strict";

// Makes any Node program dial the simulator when it means the hub:
//
//   NODE_EXTRA_CA_CERTS=$HUB_CA_FILE node --require ./hook.js program.js
//
// with HUB_HOST_NAME and HUB_ENDPOINT from the simulator's --env-file. azure-iothub always dials port 443 of the host that
// its connection string names. Only where the connection goes is changed: the request, the token and the name that the
// certificate is checked for stay those of the hub.

const https = require("node:https");

const hub = process.env.HUB_HOST_NAME;
const simulator = new URL(process.env.HUB_ENDPOINT);
const createConnection = https.Agent.prototype.createConnection;

https.Agent.prototype.createConnection = function (options, ...rest) {
  const meant = options.host === hub && Number(options.port) === 443;
  const to = meant ? { ...options, host: simulator.hostname, port: simulator.port, servername: hub } : options;
  return createConnection.call(this, to, ...rest);
};
