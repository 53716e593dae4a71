'use strict';
// The IoT Plug and Play conventions, without I/O: which properties a twin holds, and what a device owes the hub. A property is
// named "name" in the default component and "component.name" in another.

const marker = '__t';

const isObject = (v) => typeof v === 'object' && v !== null && !Array.isArray(v);
const isComponent = (v) => isObject(v) && v[marker] === 'c';
const isReserved = (name) => name.startsWith('$') || name === marker;

/** Lists [property, value] of a desired section, or of a patch of one; what a patch removes has the value null. */
function properties(section) {
  return Object.entries(section).flatMap(([name, value]) => {
    if (isReserved(name)) return [];
    if (!isComponent(value)) return [[name, value]];
    return Object.entries(value).filter(([inner]) => !isReserved(inner)).map(([inner, v]) => [`${name}.${inner}`, v]);
  });
}

/** The value of a property in a section; undefined if there is none. */
function lookup(section, property) {
  return property.split('.').reduce((v, name) => (isObject(v) ? v[name] : undefined), section);
}

/** Merges a desired patch into a section as the hub does, and returns the result: null removes, objects merge. */
function merge(section, patch) {
  if (!isObject(patch)) return patch;
  const out = isObject(section) ? { ...section } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete out[name];
    else out[name] = merge(out[name], value);
  }
  return out;
}

/** A reported patch of {property: value} pairs; those of a component carry its marker. */
function reportOf(values) {
  const patch = {};
  for (const [property, value] of Object.entries(values)) {
    const [component, name] = property.includes('.') ? property.split('.') : ['', property];
    if (component) patch[component] = { ...(patch[component] ?? { [marker]: 'c' }), [name]: value };
    else patch[name] = value;
  }
  return patch;
}

const acknowledgement = (value, ac, av, ad) => ({ value, ac, av, ad });

/** What a device that starts reports of itself: read-only values that the hub lacks, and defaults that nobody overrides. */
function firstReport(model, twin) {
  const values = {};
  for (const [property, value] of Object.entries(model.readOnly)) {
    if (lookup(twin.reported, property) !== value) values[property] = value;
  }
  for (const [property, value] of Object.entries(model.writable)) {
    if (lookup(twin.desired, property) === undefined && lookup(twin.reported, property) === undefined) {
      values[property] = acknowledgement(value, 203, 0, 'initialised with default value');
    }
  }
  return values;
}

/** The desired properties that a device which starts has not acknowledged yet. */
function outstanding(twin) {
  return properties(twin.desired).filter(([property]) => {
    const av = lookup(twin.reported, property)?.av ?? -1;
    return av < twin.desired.$version;
  });
}

module.exports = { properties, lookup, merge, reportOf, acknowledgement, firstReport, outstanding };
