// The requests of WaveSpeed's provider for the AI SDK, as its source makes them with this library of the AI SDK.
// The provider itself is in no registry. Prints one JSON object: what each scenario came to.
import { readFileSync } from "node:fs";
import {
  createBinaryResponseHandler,
  createJsonErrorResponseHandler,
  createJsonResponseHandler,
  createStatusCodeErrorResponseHandler,
  getFromApi,
  postJsonToApi,
} from "@ai-sdk/provider-utils";
import { z } from "zod/v4";

const [baseURL, apiKey, photo] = process.argv.slice(2);
const picture = `data:image/png;base64,${readFileSync(photo).toString("base64")}`;
const [draw, edit] = ["wavespeed-ai/qwen-image/text-to-image", "wavespeed-ai/qwen-image/edit"];
const task = { prompt: "a red circle", seed: 3, num_inference_steps: 4 };

// What the provider requires of each answer.
const created = z.object({ code: z.number(), message: z.string().nullish(), data: z.looseObject({ id: z.string() }) });
const polled = z.object({
  code: z.number(),
  message: z.string().nullish(),
  data: z.looseObject({
    id: z.string(),
    status: z.string(),
    outputs: z.array(z.string()).nullish(),
    error: z.string().nullish(),
    timings: z.record(z.string(), z.number()).nullish(),
    has_nsfw_contents: z.array(z.boolean()).nullish(),
  }),
});
const refused = z.looseObject({
  code: z.number().nullish(),
  message: z.string().nullish(),
  error_code: z.string().nullish(),
});
const failedResponseHandler = createJsonErrorResponseHandler({
  errorSchema: refused,
  errorToMessage: (error) => `${error.message} [${error.error_code}]`,
});

const run = async (model, changes, key = apiKey) => {
  const headers = { Authorization: `Bearer ${key}` };
  const { value: submitted } = await postJsonToApi({
    url: `${baseURL}/api/v3/${model}`,
    headers,
    body: { ...task, ...changes },
    failedResponseHandler,
    successfulResponseHandler: createJsonResponseHandler(created),
  });
  for (;;) {
    const { value } = await getFromApi({
      url: `${baseURL}/api/v3/predictions/${submitted.data.id}/result`,
      headers,
      failedResponseHandler,
      successfulResponseHandler: createJsonResponseHandler(polled),
    });
    if (["failed", "cancelled", "timeout", "deleted"].includes(value.data.status)) throw new Error(value.data.error);
    if (value.data.status === "completed") return Promise.all(value.data.outputs.map(download));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

// It refuses a private address unless it is of the same origin as the base URL.
const download = async (url) => {
  const { value, responseHeaders } = await getFromApi({
    url,
    validateUrl: true,
    trustedOrigin: baseURL,
    failedResponseHandler: createStatusCodeErrorResponseHandler(),
    successfulResponseHandler: createBinaryResponseHandler(),
  });
  return value.length > 100 ? responseHeaders["content-type"] : "empty";
};

const problem = async (promise) => promise.then(() => "no error", (error) => String(error.message));

console.log(
  JSON.stringify({
    text_to_image: await run(draw, { size: "128*128" }),
    aspect: await run(draw, { aspect_ratio: "1:1", num_inference_steps: 1, output_format: "png" }),
    edit: await run(edit, { image: picture, size: "128*128" }),
    edit_of_two: await run(edit, { images: [picture, picture], size: "128*128" }),
    base64: await run(draw, { size: "128*128", enable_base64_output: true }),
    bad_parameter: await problem(run(draw, { size: "9*9" })),
    bad_picture: await problem(run(edit, { image: "http://127.0.0.1:9/a.png" })),
    bad_model: await problem(run("another/model", {})),
    bad_key: await problem(run(draw, {}, "wrong")),
  }),
);
