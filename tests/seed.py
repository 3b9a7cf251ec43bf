"""The job of the seed's documentation, as it stands there, with its anchors defined."""

SST2 = """\
x-common:
  - &mead-gpu example/mead-gpu:1
  - &claim_name data-rw-many

tasks:

 - name: sst2
   image: *mead-gpu
   command: mead-train
   args:
    - "--basedir"
    - "/data/${TASK_ID}"
    - "--config"
    - "${WORK_PATH}/${TASK_NAME}.yml"
    - "--datasets"
    - "${ROOT_PATH}/datasets.yml"
    - "--embeddings"
    - "${ROOT_PATH}/embeddings.yml"
    - "--logging"
    - "${ROOT_PATH}/logging.json"
    - "--settings"
    - "/data/mead-settings.json"
    - "--reporting"
    - "xpctl"
    - "--xpctl:label"
    - "${TASK_ID}"
   mount:
      name: data
      path: "/data"
      claim: *claim_name
   num_gpus: 1
"""
