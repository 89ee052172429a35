// A task as a program would send it: curl, Python, JavaScript, JSON. The dialog copies it.

import { address, getKey, newUUID } from "./api.js";
import { h, icon, iconButton, replace, showDialog } from "./dom.js";
import { SEED_AS_TEXT, withNumbers } from "./exact.js";
import { t } from "./i18n.js";
import { copyText } from "./messages.js";

const KEY = "RUNWARE_API_KEY";
const FRESH_UUID = "'$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)'";

/** The ways of writing a task, by the name that their tab has. */
const WRITERS = { curl: exactly(curl), Python: exactly(python), JavaScript: javascript, JSON: exactly(json) };

/** Show a task in each way, with a button that copies it. */
export function openCopyDialog(task) {
  const code = h("pre", { tabindex: 0 });
  let chosen = "curl";
  const written = (name) => WRITERS[name](task);
  const tabs = Object.keys(WRITERS).map((name) => h("button", { type: "button", onclick: () => show(name) }, name));
  const show = (name) => {
    chosen = name;
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.textContent === name));
    replace(code, written(name));
  };
  const dialog = h(
    "dialog",
    { class: "copy", "aria-label": t("copy.title") },
    h("div", { class: "row" }, h("h2", { class: "grow" }, t("copy.title")), iconButton("close", t("shell.dismiss"), () => dialog.close())),
    h("div", { class: "row", role: "group", "aria-label": t("copy.as") }, tabs),
    code,
    h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => copyText(written(chosen)) }, icon("copy"), t("copy.copy"))),
  );
  show("curl");
  showDialog(dialog);
}

/** A writer whose program keeps all digits of a number. */
function exactly(write) {
  return (task) => withNumbers(write(task));
}

/** The shell quotes the task with ', so one within it ends the quotation, stands alone, and begins it again. */
function curl(task) {
  const text = JSON.stringify([{ taskType: "imageInference", taskUUID: "UUID", ...task }], null, 2).replaceAll("'", `'\\''`);
  const header = getKey() ? ` \\\n  -H "Authorization: Bearer $${KEY}"` : "";
  return `curl -s ${address("v1")} -H 'Content-Type: application/json'${header} -d '${text.replace('"UUID"', `"${FRESH_UUID}"`)}'`;
}

function python(task) {
  const key = getKey() ? `os.environ["${KEY}"]` : '"any"';
  return `import asyncio
${getKey() ? "import os\n" : ""}
from runware import Runware  # pip install runware-sdk


async def main():
    server = {"http_base_url": "${address("v1")}", "ws_base_url": "${address("v1").replace(/^http/, "ws")}"}
    async with Runware(api_key=${key}, **server) as runware:
        images = await runware.run(${indent(asPython({ taskType: "imageInference", ...task }), 8)})
    for image in images:
        print(image["imageURL"])


asyncio.run(main())
`;
}

/** A number of JavaScript loses digits of a long seed. So the seed stays a text there, up to the JSON. */
function javascript(task) {
  const body = JSON.stringify({ taskType: "imageInference", ...task }, null, 2);
  const longSeed = typeof task.seed === "string" ? `.replace(${SEED_AS_TEXT}, '"seed":$1$2')` : "";
  const key = getKey() ? `, Authorization: \`Bearer \${process.env.${KEY}}\`` : "";
  return `const task = ${body};
const response = await fetch("${address("v1")}", {
  method: "POST",
  headers: { "Content-Type": "application/json"${key} },
  body: JSON.stringify([{ ...task, taskUUID: crypto.randomUUID() }])${longSeed},
});
const { data, errors } = await response.json();
if (errors) throw new Error(errors[0].message);
for (const image of data) console.log(image.imageURL);
`;
}

function json(task) {
  return JSON.stringify([{ taskType: "imageInference", taskUUID: newUUID(), ...task }], null, 2);
}

/** A value as Python writes it. JSON's strings and numbers are Python's too. */
function asPython(value) {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (typeof value !== "object") return JSON.stringify(value);
  const list = Array.isArray(value);
  const parts = list ? value.map(asPython) : Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${asPython(part)}`);
  if (!parts.length) return list ? "[]" : "{}";
  const [open, close] = list ? "[]" : "{}";
  return `${open}\n${parts.map((part) => `    ${indent(part, 4)},`).join("\n")}\n${close}`;
}

const indent = (text, spaces) => text.replaceAll("\n", `\n${" ".repeat(spaces)}`);
