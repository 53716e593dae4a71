-- Health of a DeviceCommand, DeviceModel, IoTHub or PnPDevice for Argo CD: one script for all kinds. It says what kstatus says of the same status:
-- Healthy is Current, Progressing is InProgress or Terminating, Degraded is Failed. Suspended is Current or Failed there, of an
-- object that someone stopped on purpose.
-- Argo CD runs it without Lua's string library.

local function health(status, message)
  return {status = status, message = message}
end

local status = obj.status or {}
if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "Being deleted")
end
if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "Waiting for the operator")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function isTrue(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local ready = conditions.Ready
if ready == nil then
  return health("Progressing", "Waiting for the operator")
end
if isTrue("Stalled") then
  local suspended = ready.reason == "Suspended" or ready.reason == "HubSuspended"
  return health(suspended and "Suspended" or "Degraded", ready.message)
end
if ready.status ~= "True" or isTrue("Reconciling") then
  return health("Progressing", ready.message)
end
if obj.spec.suspend then
  return health("Suspended", ready.message)
end
return health("Healthy", ready.message)
