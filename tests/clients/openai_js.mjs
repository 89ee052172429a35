// OpenAI's JavaScript client, unmodified. Prints one JSON object: what each scenario came to.
import { createReadStream, readFileSync } from "node:fs";
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey, photo, mask] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const drawn = { size: "128x128", seed: 3, num_inference_steps: 4 };

const generate = (changes = {}) => client.images.generate({ prompt: "a red circle", ...drawn, ...changes });
const edit = (changes = {}) =>
  client.images.edit({ image: createReadStream(photo), prompt: "make it blue", ...drawn, ...changes });
const bytes = (response) => response.data.map((item) => Buffer.from(item.b64_json, "base64").subarray(0, 4).toString("hex"));
const problem = async (promise) =>
  promise.then(
    () => [],
    (error) => [error.status, error.code, error.param],
  );

const file = (name = "photo.png") => toFile(readFileSync(photo), name, { type: "image/png" });
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const first = await generate({ model: "gpt-image-1", n: 2, output_format: "jpeg" });
const stream = [];
for await (const event of await generate({ stream: true, partial_images: 1 })) stream.push(event.type);
console.log(
  JSON.stringify({
    models,
    stream,
    generate: bytes(first),
    size: first.size,
    url: (await generate({ response_format: "url" })).data.map((item) => item.url),
    edit: bytes(await edit()),
    edit_several: bytes(await edit({ image: [await file(), await file("other.png")] })),
    edit_mask: bytes(await edit({ mask: createReadStream(mask) })),
    bad_size: await problem(generate({ size: "1x1" })),
    bad_model: await problem(generate({ model: "dall-e-9" })),
    bad_key: await problem(new OpenAI({ baseURL, apiKey: "wrong" }).images.generate({ prompt: "a" })),
  }),
);
