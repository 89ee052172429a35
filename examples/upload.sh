#!/bin/sh
# Upload a picture and print the answer. Later tasks can name the picture by its imageUUID.
#
#   examples/upload.sh photo.png
set -eu
task=$(uuidgen 2>/dev/null || cat /proc/sys/kernel/random/uuid)
{
  printf '[{"taskType": "imageUpload", "taskUUID": "%s", "image": "' "$task"
  base64 < "$1" | tr -d '\n'
  printf '"}]'
} |
  curl -s "${BASE_URL:-http://127.0.0.1:8000}/v1" \
    -H "Authorization: Bearer ${RUNWARE_API_KEY:-any}" \
    -H 'Content-Type: application/json' \
    -d @-
echo
