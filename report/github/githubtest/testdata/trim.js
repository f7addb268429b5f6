// Cuts GitHub's OpenAPI description down to the operations in keep.json and to
// what they refer to, without prose and examples, and prints it.
//
//	node trim.js DESCRIPTION.json KEEP.json >openapi.json
'use strict';
const fs = require('fs');

const [source, choice] = process.argv.slice(2).map((f) => JSON.parse(fs.readFileSync(f, 'utf8')));
const components = {};

// A schema's property may itself be called "description" or "example", so that
// only the keys of a node are prose, never the keys of a map of names.
const prose = new Set(['description', 'example', 'examples', 'externalDocs', 'summary', 'tags', 'x-github', 'x-octokit', 'x-webhooks', 'deprecated', 'links']);
const maps = new Set(['properties', 'patternProperties', 'responses', 'headers', 'content', 'schemas', 'parameters']);

function strip(node, isMap) {
  if (Array.isArray(node)) return node.map((v) => strip(v, false));
  if (!node || typeof node !== 'object') return node;
  if (typeof node.$ref === 'string') return { $ref: follow(node.$ref) };
  const out = {};
  for (const [k, v] of Object.entries(node)) {
    if (!isMap && prose.has(k)) continue;
    // Verbatim: a default or an enumeration is data, whatever its keys are.
    out[k] = !isMap && (k === 'default' || k === 'enum') ? v : strip(v, !isMap && maps.has(k));
  }
  return out;
}

function follow(ref) {
  const [, , type, name] = ref.split('/');
  const of = (components[type] ??= {});
  if (!(name in of)) {
    of[name] = null; // before the descent: schemas refer to each other in circles
    of[name] = strip(source.components[type][name], false);
    if (type === 'responses') of[name].description = '';
  }
  return ref;
}

const paths = {};
for (const [path, methods] of Object.entries(choice.operations)) {
  const from = source.paths[path];
  if (!from) throw new Error(`the description has no path ${path}`);
  paths[path] = {};
  for (const method of methods) {
    if (!from[method]) throw new Error(`the description has no ${method} ${path}`);
    const op = strip(from[method], false);
    for (const r of Object.values(op.responses)) if (!r.$ref) r.description = '';
    paths[path][method] = op;
  }
}

const sorted = (o) => Object.fromEntries(Object.entries(o).sort(([a], [b]) => (a < b ? -1 : 1)));
for (const type of Object.keys(components)) components[type] = sorted(components[type]);

// One component a line: a new version's changes can be read in a diff.
const lines = (o, depth) => {
  const pad = ' '.repeat(depth);
  return '{\n' + Object.entries(o).map(([k, v]) => pad + JSON.stringify(k) + ': ' + JSON.stringify(v)).join(',\n') + '\n' + ' '.repeat(depth - 1) + '}';
};
const info = { title: source.info.title, version: source.info.version, license: source.info.license, 'x-source': `${choice.package}@${choice.version}/${choice.file}` };
process.stdout.write(
  `{\n"openapi": ${JSON.stringify(source.openapi)},\n"info": ${JSON.stringify(info)},\n"paths": ${lines(paths, 1)},\n"components": {\n` +
    Object.entries(sorted(components)).map(([type, of]) => ` ${JSON.stringify(type)}: ${lines(of, 2)}`).join(',\n') + '\n}\n}\n');
