'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const c = require('./conventions');

test('properties of the default and of other components', () => {
  assert.deepEqual(c.properties({ $version: 3, a: 1, o: { x: 1 }, t: { __t: 'c', b: null, p: { x: 1 } } }), [
    ['a', 1], ['o', { x: 1 }], ['t.b', null], ['t.p', { x: 1 }],
  ]);
});

test('merging as the hub does', () => {
  assert.deepEqual(c.merge({ o: { x: 1, y: 2 }, a: 1 }, { o: { y: null, z: [1] }, a: 2 }), { o: { x: 1, z: [1] }, a: 2 });
});

test('a report carries markers of components', () => {
  assert.deepEqual(c.reportOf({ a: 1, 't.b': 2, 't.c': 3 }), { a: 1, t: { __t: 'c', b: 2, c: 3 } });
});

test('what a device that starts reports and still owes', () => {
  const model = { writable: { w: 20, 't.w': 20 }, readOnly: { r: 1, s: 2 } };
  const twin = { desired: { $version: 4, w: 5, n: 1, t: { __t: 'c', x: 1 } }, reported: { r: 1, n: { value: 1, ac: 200, av: 4 }, t: { __t: 'c', x: { value: 0, ac: 200, av: 3 } } } };
  assert.deepEqual(c.firstReport(model, twin), { s: 2, 't.w': { value: 20, ac: 203, av: 0, ad: 'initialised with default value' } });
  assert.deepEqual(c.outstanding(twin), [['w', 5], ['t.x', 1]]);
});
