// Bundled with GitHub's client into index.mjs by testdata/docker/setup.sh.
import {DefaultArtifactClient} from "@actions/artifact";
import {readdir} from "node:fs/promises";
import {join} from "node:path";

const [name, folder] = ["NAME", "PATH"].map((key) => process.env["INPUT_" + key]);
const entries = await readdir(folder, {recursive: true, withFileTypes: true});
const files = entries.filter((e) => !e.isDirectory()).map((e) => join(e.parentPath ?? e.path, e.name));
const {id, size} = await new DefaultArtifactClient().uploadArtifact(name, files, folder);
console.log(`artifact ${name}: ${files.length} files, ${size} bytes, id ${id}`);
