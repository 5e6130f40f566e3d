import asyncio,sys
from pathlib import Path
import pytest
from pool.register_store import add_miner
from tests.integration.chromium import *
from tests.integration.web_world import *
from tests.integration.ledger_world import *
from tests.integration.test_web import HOSTILE
from register.licence import Licence
async def test_shots(world, tmp_path, engine):
    await morning(world)
    await add_miner(engine, RULES,"regtest",name="ekibastuz-north",title="ТОО «Қазақстан Цифрлық Майнинг»",bin_number="990140004654",licence_held=Licence("KZ77VQX0012345",2,dt.date(2026,1,1),dt.date(2026,6,30)),address=ADDRESS)
    async with running_chromium() as b:
        async with serving(engine, world, tmp_path) as s:
            for n,(size,dark) in {"desktop":(DESKTOP,0),"phone":(PHONE,0),"dark":(DESKTOP,1)}.items():
                await b.size(*size)
                await b.ask("Emulation.setEmulatedMedia", features=[{"name":"prefers-color-scheme","value":"dark" if dark else "light"}])
                await b.open(s.url+"/")
                Path(f"/tmp/web_{n}.png").write_bytes(await b.screenshot())
            await b.size(*DESKTOP)
        from pool.database import create_engine
        e=create_engine("postgresql://nobody@127.0.0.1:1/n")
        async with serving(e, world, tmp_path) as s:
            await b.open(s.url+"/")
            Path(f"/tmp/web_away.png").write_bytes(await b.screenshot())
        await e.dispose()
