// The vendor's JavaScript SDK (WebSocket only), unmodified. Prints one JSON object: what each scenario came to.
import { readFileSync } from "node:fs";
import { Runware } from "@runware/sdk-js";

const [url, apiKey, photo] = process.argv.slice(2);
const task = { positivePrompt: "a red circle", model: "runware:108@1", width: 128, height: 128, steps: 4, seed: 3 };

const seeds = async (client, changes) => {
  const images = await client.requestImages({ ...task, ...changes });
  return images.map((image) => image.seed).sort((a, b) => a - b);
};

const problem = async (promise) => {
  try {
    await promise;
    return "no error";
  } catch (error) {
    const first = error?.error ?? error?.errors?.[0] ?? error;
    return `${first?.code ?? ""}: ${first?.message ?? JSON.stringify(error)}`;
  }
};

const later = async (client) => {
  const [accepted] = await client.requestImages({ ...task, numberResults: 1, deliveryMethod: "async" });
  for (;;) {
    const items = await client.getResponse({ taskUUID: accepted.taskUUID });
    if (items.every((item) => item.status === "success")) return items.map((item) => item.seed);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

const client = new Runware({ apiKey, url });
await client.ensureConnection();
const dataUri = `data:image/png;base64,${readFileSync(photo).toString("base64")}`;
const found = {
  text_to_image: await seeds(client, {}),
  edit_from_a_local_file: await seeds(client, { model: "runware:108@20", referenceImages: [dataUri] }),
  two_results: await seeds(client, { numberResults: 2 }),
  async: await later(client),
  guide: (await client.controlNetPreprocess({ inputImage: dataUri, preProcessorType: "canny" })).status,
  bad_parameter: await problem(client.requestImages({ ...task, width: 1000 })),
};
await client.disconnect();
const stranger = new Runware({ apiKey: "wrong", url, shouldReconnect: false, timeoutDuration: 10_000 });
found.bad_key = await problem(stranger.ensureConnection().then(() => stranger.requestImages(task)));
console.log(JSON.stringify(found));
process.exit(0);
