# %% [markdown]
# # A pipeline from a notebook
# The cells of a notebook as a script: open it in an editor that knows `# %%`, or run it as it is. It needs a server
# (`odin-serve`) and, to write, a token (`odin-auth`); or `Client(url, username=..., password=...)`.

# %% A job: a folder with a main.yml. Pushing the same again changes nothing.
from odin import Client

client = Client()
MAIN = """
tasks:
  - {name: words, command: sh, args: [-c, 'echo huginn muninn | tee "$0"', "${TASK_PATH}/words.txt"]}
  - {name: count, depends: words, command: sh, args: [-c, 'sleep 2; wc -w < "$0"', "${RUN_PATH}/words/words.txt"]}
"""
client.push("notebook", {"main.yml": MAIN}, create=True)

# %% Launch it and follow what happens; in a notebook `pipeline` alone shows a table.
pipeline = client.run("notebook")
for change in pipeline.follow():
    print(change)
print(pipeline)

# %% Read what came of it: logs, what the database holds, what happened.
print("words:", pipeline.task("count").log())
print("attempts:", pipeline.task("count").data()["attempts"])
print("events:", [event.reason for event in pipeline.events()])

# %% Launch another one, read its log as it comes, cancel it.
another = client.run("notebook")
print("log:", next(another.task("words").follow_log()))
another.cancel()
print("outcome:", another.wait().outcome)
