import asyncio, inspect
from unittest.mock import AsyncMock
from livekit.agents import ipc, job


async def initialize():
    await asyncio.sleep(3)


async def main():
    ipc.proc_pool.MAX_CONCURRENT_INITIALIZATIONS = 1
    options = dict.fromkeys(inspect.getfullargspec(ipc.proc_pool.ProcPool).kwonlyargs, 0)
    options |= {"job_executor_type": job.JobExecutorType.PROCESS, "loop": asyncio.get_event_loop()}
    pool = ipc.proc_pool.ProcPool(**options | {"initialize_timeout": 4})
    fakes = {name: AsyncMock() for name in ("start", "launch_job", "aclose")}
    fakes |= {"initialize": initialize, "join": asyncio.Event().wait}
    pool.on("process_created", lambda process: vars(process).update(fakes))
    await pool.start()
    launches = [asyncio.create_task(pool.launch_job(AsyncMock())) for _ in range(12)]
    await asyncio.wait(launches, timeout=60)
    done = [launch for launch in launches if launch.done() and not launch.exception()]
    print(len(done), "of 12 launched")


asyncio.run(main())
