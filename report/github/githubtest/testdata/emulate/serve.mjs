// Serves emulate's GitHub with one user and one repository on a free port, says
// where, and ends with its standard input. It is given to node as --eval.
import { pathToFileURL } from 'node:url';

const [folder, login, repo, token] = process.argv.slice(1);
const { createEmulator } = await import(pathToFileURL(`${folder}/node_modules/emulate/dist/api.js`));
const github = await createEmulator({
  service: 'github',
  port: 0,
  seed: {
    tokens: { [token]: { login, scopes: ['repo', 'user'] } },
    github: { users: [{ login }], repos: [{ owner: login, name: repo, auto_init: true }] },
  },
});
console.log(github.url);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
