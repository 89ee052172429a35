// The vendor's provider for the AI SDK (HTTP only, sync only), unmodified. Prints one JSON object.
import { readFileSync } from "node:fs";
import { createRunware } from "@runware/ai-sdk-provider";
import { experimental_generateImage as generateImage } from "ai";

const [baseURL, apiKey, photo] = process.argv.slice(2);

const draw = async (changes = {}, key = apiKey) => {
  const { model = "runware:108@1", options = {}, ...rest } = changes;
  const provider = createRunware({ apiKey: key, baseURL });
  const { images } = await generateImage({
    model: provider.image(model),
    prompt: "a red circle",
    size: "128x128",
    seed: 3,
    maxRetries: 0,
    providerOptions: { runware: { steps: 4, ...options } },
    ...rest,
  });
  return images.map((image) => image.mediaType);
};

const problem = async (promise) => promise.then(() => "no error", (error) => String(error.message));

const dataUri = `data:image/png;base64,${readFileSync(photo).toString("base64")}`;
console.log(
  JSON.stringify({
    text_to_image: await draw(),
    edit_from_a_local_file: await draw({ model: "runware:108@20", options: { referenceImages: [dataUri] } }),
    two_results: await draw({ n: 2 }),
    bad_parameter: await problem(draw({ size: "1000x128" })),
    bad_key: await problem(draw({}, "wrong")),
  }),
);
