'use strict';
// What the devices know of their models: Microsoft's examples Thermostat and TemperatureController.

const maxMinReport = () => ({
  maxTemp: 23.4, minTemp: 18.2, avgTemp: 20.6,
  startTime: new Date(Date.now() - 3600e3).toISOString(), endTime: new Date().toISOString(),
});

const models = {
  'dtmi:com:example:Thermostat;1': {
    writable: { targetTemperature: 20 },
    readOnly: { maxTempSinceLastReboot: 25.3 },
    commands: { getMaxMinReport: maxMinReport },
  },
  'dtmi:com:example:TemperatureController;1': {
    writable: { 'thermostat1.targetTemperature': 20, 'thermostat2.targetTemperature': 20 },
    readOnly: {
      serialNumber: 'SR-654321',
      'thermostat1.maxTempSinceLastReboot': 25.3, 'thermostat2.maxTempSinceLastReboot': 26.1,
      'deviceInformation.manufacturer': 'Contoso', 'deviceInformation.model': 'Node Controller',
      'deviceInformation.swVersion': '1.0.0', 'deviceInformation.osName': 'Linux',
      'deviceInformation.processorArchitecture': 'x64', 'deviceInformation.processorManufacturer': 'Contoso',
      'deviceInformation.totalStorage': 256, 'deviceInformation.totalMemory': 1024,
    },
    commands: { reboot: () => null, 'thermostat1*getMaxMinReport': maxMinReport, 'thermostat2*getMaxMinReport': maxMinReport },
  },
};

/** A device of a model that is not known takes every property. */
const unknown = { writable: {}, readOnly: {}, commands: {} };

module.exports = { modelOf: (id) => models[id] ?? unknown };
