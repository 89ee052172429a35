// RunPod's JavaScript SDK, unmodified. Prints one JSON object: what each scenario came to.
import { readFileSync } from "node:fs";
import runpodSdk from "runpod-sdk";

const [url, apiKey, photo] = process.argv.slice(2);
console.log = () => {}; // the SDK prints each state
const sdk = runpodSdk(apiKey, { baseUrl: `${url}/v2` });
const [draw, edit] = [sdk.endpoint("qwen-image-t2i"), sdk.endpoint("qwen-image-edit")];
const input = { prompt: "a red circle", size: "128*128", seed: 3, num_inference_steps: 4 };
const image = `data:image/png;base64,${readFileSync(photo).toString("base64")}`;
const problem = async (promise) => promise.then((found) => JSON.stringify(found), (error) => error.message);

const job = await draw.run({ input });
const chunks = [];
for await (const chunk of draw.stream(job.id)) chunks.push(chunk);
const slow = await draw.run({ input: { ...input, num_inference_steps: 50 } });
const cancel = await draw.cancel(slow.id);
const found = {
  runSync: await draw.runSync({ input }),
  edit: await edit.runSync({ input: { prompt: "make it blue", image } }),
  stream: chunks,
  status: await draw.status(job.id),
  cancel,
  statusSync: await draw.statusSync(slow.id),
  health: Object.keys(await draw.health()).sort(),
  purge: await draw.purgeQueue(),
  bad_parameter: await problem(draw.runSync({ input: { ...input, size: "9*9" } })),
  bad_key: await problem(runpodSdk("wrong", { baseUrl: `${url}/v2` }).endpoint("qwen-image-t2i").run({ input })),
};
process.stdout.write(`${JSON.stringify(found)}\n`);
