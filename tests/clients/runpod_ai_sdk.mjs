// RunPod's provider for the AI SDK, unmodified. Prints one JSON object: what each scenario came to.
import { readFileSync } from "node:fs";
import { createRunpod } from "@runpod/ai-sdk-provider";
import { generateImage } from "ai";

const [url, apiKey, photo] = process.argv.slice(2);
const bytes = new Uint8Array(readFileSync(photo));

const draw = async (endpoint, changes = {}, key = apiKey) => {
  const provider = createRunpod({ apiKey: key, baseURL: `${url}/v2/${endpoint}` });
  const { model = endpoint, options = {}, ...rest } = changes;
  const { images } = await generateImage({
    model: provider.image(model),
    prompt: "a red circle",
    seed: 3,
    maxRetries: 0,
    providerOptions: { runpod: { num_inference_steps: 4, ...options } },
    ...rest,
  });
  return images.map((image) => image.mediaType);
};
const problem = async (promise) => promise.then(() => "no error", (error) => String(error.message));

console.log(
  JSON.stringify({
    text_to_image: await draw("qwen-image-t2i", { model: "qwen/qwen-image", size: "1328x1328" }),
    edit: await draw("qwen-image-edit", { model: "qwen/qwen-image-edit", prompt: { text: "blue", images: [bytes] } }),
    bad_parameter: await problem(draw("qwen-image-t2i", { model: "qwen/qwen-image", options: { seed: "x" } })),
    bad_key: await problem(draw("qwen-image-t2i", { model: "qwen/qwen-image" }, "wrong")),
  }),
);
