import asyncio, inspect
from unittest.mock import AsyncMock
from livekit.agents import ipc, job

created = []


async def main():
    options = dict.fromkeys(inspect.getfullargspec(ipc.proc_pool.ProcPool).kwonlyargs, 0)
    options |= {"job_executor_type": job.JobExecutorType.PROCESS, "loop": asyncio.get_event_loop()}
    pool = ipc.proc_pool.ProcPool(**options | {"initialize_timeout": 10, "num_idle_processes": 1})
    exited, runs = asyncio.Event(), asyncio.Event()

    def on_created(process):
        created.append(process)
        fakes = {name: AsyncMock() for name in ("start", "initialize", "launch_job", "aclose")}
        join = exited.wait if len(created) == 1 else runs.wait
        vars(process).update(fakes, join=join)

    pool.on("process_created", on_created)
    await pool.start()
    exited.set()
    await asyncio.sleep(2)
    await pool.launch_job(AsyncMock())
    dead = created[0].launch_job.await_count
    print("the job is given to the dead process" if dead else "dropped from the queue, and replaced")


asyncio.run(main())
