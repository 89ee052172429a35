#!/bin/sh
# Send a request file to the server and print the answer.
#
#   examples/send.sh examples/requests/text_to_image.json
#   examples/send.sh examples/requests/edit.json IMAGE_UUID
#
# Each run makes a fresh task UUID. The second argument replaces IMAGE_UUID in the file.
set -eu
task=$(uuidgen 2>/dev/null || cat /proc/sys/kernel/random/uuid)
sed -e "s/TASK_UUID/$task/" -e "s/IMAGE_UUID/${2:-}/" "$1" |
  curl -s "${BASE_URL:-http://127.0.0.1:8000}/v1" \
    -H "Authorization: Bearer ${RUNWARE_API_KEY:-any}" \
    -H 'Content-Type: application/json' \
    -d @-
echo
