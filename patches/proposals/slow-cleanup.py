import asyncio, inspect, itertools, time
from unittest.mock import AsyncMock
from livekit.agents import ipc, job

spawns = itertools.count(1)


async def initialize():
    if next(spawns) == 1:
        raise RuntimeError("this process cannot initialize")


async def aclose():
    await asyncio.sleep(5)


async def main():
    options = dict.fromkeys(inspect.getfullargspec(ipc.proc_pool.ProcPool).kwonlyargs, 0)
    options |= {"job_executor_type": job.JobExecutorType.PROCESS, "loop": asyncio.get_event_loop()}
    pool = ipc.proc_pool.ProcPool(**options | {"initialize_timeout": 10})
    fakes = {"start": AsyncMock(), "launch_job": AsyncMock(), "initialize": initialize}
    fakes |= {"join": asyncio.Event().wait, "aclose": aclose}
    pool.on("process_created", lambda process: vars(process).update(fakes))
    await pool.start()
    began = time.monotonic()
    launch = asyncio.create_task(pool.launch_job(AsyncMock()))
    await asyncio.wait([launch], timeout=60)
    took = f"after {time.monotonic() - began:.0f} s"
    print("launched" if launch.done() and not launch.exception() else "dropped", took)


asyncio.run(main())
