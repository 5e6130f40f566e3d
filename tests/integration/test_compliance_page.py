"""The compliance page in a real browser."""
from __future__ import annotations
from pathlib import Path
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration import chromium
from tests.integration.chromium import running_chromium
from tests.integration.register_site import TOKENS, enter_a_troubled_pool, serving_register

@pytest.mark.parametrize("size", [chromium.DESKTOP, chromium.PHONE], ids=["desktop", "phone"])
async def test_shot(engine: AsyncEngine, tmp_path: Path, size) -> None:
    await enter_a_troubled_pool(engine)
    async with serving_register(engine, tmp_path, "payout_address", "licence_status") as site, running_chromium() as browser:
        await browser.size(*size)
        url = site.url.replace("http://", f"http://x:{TOKENS['audit']}@")
        await browser.open(url + "/compliance")
        Path(f"/root/lead/D/shot{size[0]}.png").write_bytes(await browser.screenshot())
        print(await browser.evaluate("document.documentElement.scrollWidth"), browser.complaints)
