import asyncio, inspect, itertools
from unittest.mock import AsyncMock
from livekit.agents import ipc, job

spawns = itertools.count(1)


async def initialize():
    if next(spawns) % 4:
        raise RuntimeError("this process cannot initialize")
    await asyncio.sleep(4)


async def main():
    ipc.proc_pool.MAX_CONCURRENT_INITIALIZATIONS = 4
    options = dict.fromkeys(inspect.getfullargspec(ipc.proc_pool.ProcPool).kwonlyargs, 0)
    options |= {"job_executor_type": job.JobExecutorType.PROCESS, "loop": asyncio.get_event_loop()}
    pool = ipc.proc_pool.ProcPool(**options | {"initialize_timeout": 10, "num_idle_processes": 4})
    fakes = {name: AsyncMock() for name in ("start", "launch_job", "aclose")}
    fakes |= {"initialize": initialize, "join": asyncio.Event().wait}
    pool.on("process_created", lambda process: vars(process).update(fakes))
    starting = asyncio.create_task(pool.start())
    launch = asyncio.create_task(pool.launch_job(AsyncMock()))
    await asyncio.wait([launch], timeout=60)
    dropped = not launch.done() or launch.exception()
    print("waits for ever" if not launch.done() else "dropped" if dropped else "launched")


asyncio.run(main())
