import random
from tests.integration.test_settlement_crash import *
from tests.integration.test_settlement_crash import world as world

for _n in [n for n in dir() if n.startswith("test_")]:
    del globals()[_n]


async def test_campaign(world):
    await world.fill(20)
    print("DIED", await random_stories(world, 15, random.Random(7)))
