// WaveSpeed's JavaScript SDK, unmodified. Prints one JSON object: what each scenario came to.
import wavespeed from "wavespeed";

const { Client } = wavespeed;
const [baseUrl, apiKey, photo] = process.argv.slice(2);
const [draw, edit] = ["wavespeed-ai/qwen-image/text-to-image", "wavespeed-ai/qwen-image/edit"];
const task = { prompt: "a red circle", size: "128*128", seed: 3, num_inference_steps: 4 };
const client = new Client(apiKey, { baseUrl });

const types = async ({ outputs }) =>
  Promise.all(outputs.map(async (output) => (await fetch(output)).headers.get("content-type")));
const problem = async (promise) => promise.then(() => "no error", (error) => `${error.name}: ${error.message}`);

const uploaded = await client.upload(photo);
console.log(
  JSON.stringify({
    text_to_image: await types(await client.run(draw, task, { pollInterval: 0.1 })),
    sync_mode: await types(await client.run(draw, task, { enableSyncMode: true })),
    edit_of_an_upload: await types(await client.run(edit, { ...task, size: undefined, image: uploaded })),
    bad_parameter: await problem(client.run(draw, { ...task, size: "9*9" })),
    bad_picture: await problem(client.run(edit, { prompt: "a", image: "http://127.0.0.1:9/a.png" }, { maxRetries: 1 })),
    bad_key: await problem(new Client("wrong", { baseUrl }).run(draw, task)),
  }),
);
