'use strict';
// What the page shows comes from devices and services: it is only ever set as text, and without what turns or hides text.

const el = (id) => document.getElementById(id);
const behaviours = ['Acknowledge', 'Reject', 'Ignore', 'PlainValue', 'Float32', 'GoOffline', 'GoOnline'];
let chosen = '';

async function api(method, path, body) {
  const response = await fetch(path, { method, body: typeof body === 'object' ? JSON.stringify(body) : body });
  const text = await response.text();
  const value = text ? JSON.parse(text) : null;
  if (!response.ok) throw new Error(`${method} ${path}: ${value?.error ?? response.status}`);
  return value;
}

// act runs what a user asked for and shows what came of it.
async function act(f) {
  try {
    el('error').textContent = '';
    await f();
    await refresh();
  } catch (err) {
    el('error').textContent = plain(err.message);
  }
}

// plain writes control and format characters as \u, except line breaks, which indent a twin.
const plain = (s) => String(s).replace(/[^\n\P{C}]|[\u2028\u2029]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function row(cells, className) {
  const tr = document.createElement('tr');
  if (className) tr.className = className;
  for (const cell of cells) {
    const td = document.createElement('td');
    if (cell instanceof Node) td.append(cell);
    else td.textContent = plain(cell ?? '');
    tr.append(td);
  }
  return tr;
}

const time = (s) => new Date(s).toLocaleTimeString([], { hour12: false });
const devicePath = (id) => `/devices/${encodeURIComponent(id)}`;

async function showInfo() {
  const i = await api('GET', '/info');
  el('info').textContent = `${i.hostName}: REST at ${i.endpoint}, devices connect to ${i.mqttAddress}, events at ${i.eventsAddress}; ${i.devices} devices, ${i.virtualDevices} of them virtual; ${i.calls} calls`;
}

async function showDevices() {
  const filter = new FormData(el('search')).get('filter');
  const list = await api('GET', `/devices?limit=500&filter=${encodeURIComponent(filter)}`);
  el('devices').replaceChildren(...list.devices.map((d) => {
    const tr = row([d.id + (d.virtual ? ' (virtual)' : ''), d.connected ? 'yes' : 'no', d.enabled ? 'enabled' : 'disabled', d.model, d.desiredVersion, d.reportedVersion], d.id === chosen ? 'chosen' : '');
    tr.addEventListener('click', () => act(() => choose(d.id)));
    return tr;
  }));
  el('more').textContent = list.more ? `and ${list.more} more` : '';
}

function choose(id) {
  chosen = id;
  el('device').hidden = false;
  el('device-name').textContent = plain(id);
}

async function showTwin() {
  const id = chosen;
  if (!id) return;
  const twin = await api('GET', `${devicePath(chosen)}/twin`);
  if (id === chosen) el('twin').textContent = plain(JSON.stringify(twin, null, 2)); // another device may have been chosen meanwhile
}

async function showEvents() {
  const events = await api('GET', '/events?limit=60');
  el('events').replaceChildren(...events.reverse().map((e) => row([time(e.at), e.deviceId, e.source, e.opType ?? e.component, e.body.slice(0, 300)])));
}

async function showCalls() {
  const calls = await api('GET', '/calls?limit=40');
  const newestFirst = calls.sort((a, b) => b.seq - a.seq);
  el('calls').replaceChildren(...newestFirst.map((c) => row([time(c.time), c.operation, c.deviceId, c.status || 'none', c.fault])));
}

async function showFaults(kind) {
  const faults = await api('GET', `/${kind}`);
  el(kind).replaceChildren(...faults.map((f) => {
    const remove = document.createElement('button');
    remove.textContent = 'Remove';
    remove.addEventListener('click', () => act(() => api('DELETE', `/${kind}/${encodeURIComponent((f.fault ?? f).id)}`)));
    return row([JSON.stringify(f), remove]);
  }));
}

async function refresh() {
  await Promise.all([showInfo(), showDevices(), showTwin(), showEvents(), showCalls(), showFaults('faults'), showFaults('eventfaults')]);
}

// filled are the fields of a form that are not empty; numbers become numbers.
function filled(form, ...numbers) {
  const fields = Object.fromEntries([...new FormData(form)].filter(([, v]) => v !== ''));
  for (const name of numbers) if (name in fields) fields[name] = Number(fields[name]);
  return fields;
}

function onSubmit(id, f) {
  el(id).addEventListener('submit', (e) => {
    e.preventDefault();
    act(() => f(e.target));
  });
}

onSubmit('search', () => {});
el('search').addEventListener('input', () => act(() => {}));
onSubmit('create', (form) => api('POST', '/devices', filled(form)));
onSubmit('patch', (form) => {
  const { section, patch } = filled(form);
  return api('POST', `${devicePath(chosen)}/${section}`, patch);
});
onSubmit('fault', (form) => api('POST', '/faults', filled(form, 'status', 'count')));
onSubmit('eventfault', (form) => api('POST', '/eventfaults', filled(form, 'count')));
for (const b of document.querySelectorAll('[data-post]')) b.addEventListener('click', () => act(() => api('POST', `${devicePath(chosen)}/${b.dataset.post}`)));
for (const b of document.querySelectorAll('[data-status]')) b.addEventListener('click', () => act(() => api('PUT', `${devicePath(chosen)}/status`, { enabled: b.dataset.status === 'true' })));
for (const b of document.querySelectorAll('[data-hub]')) b.addEventListener('click', () => act(() => api('POST', b.dataset.hub)));
el('connection-string').addEventListener('click', () => act(async () => {
  const s = await api('GET', `${devicePath(chosen)}/connectionstring`);
  window.prompt('To paste into Microsoft\'s device SDK', s.connectionString);
}));
el('behaviour').append(...['Behaviour …', ...behaviours].map((kind) => new Option(kind)));
el('behaviour').addEventListener('change', (e) => {
  const kind = e.target.value;
  e.target.selectedIndex = 0;
  const more = kind === 'Reject' ? { code: 400, description: 'refused from the debug page' } : {};
  act(() => api('PUT', `${devicePath(chosen)}/behaviour`, { kind, ...more }));
});

// The page follows by asking once a second: nobody has to be told that it is open.
act(refresh);
setInterval(() => document.hidden || refresh().catch((err) => { el('error').textContent = plain(err.message); }), 1000);
