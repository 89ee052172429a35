// Render a picture from a prompt and print its URL.
//
//   npm install --no-save @runware/sdk-js
//   node examples/text_to_image.mjs
import { Runware } from "@runware/sdk-js";

const baseUrl = process.env.BASE_URL ?? "http://127.0.0.1:8000";
const apiKey = process.env.RUNWARE_API_KEY ?? "any";

const runware = new Runware({ apiKey, url: `${baseUrl}/v1`.replace("http", "ws") });
await runware.ensureConnection();
const images = await runware.requestImages({
  model: "runware:108@1",
  positivePrompt: "a large red circle at the center on a white background",
  width: 512,
  height: 512,
  seed: 7,
});
for (const image of images) console.log(image.imageURL);
await runware.disconnect();
process.exit(0);
