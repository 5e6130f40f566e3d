"""What the pool tells its people by itself: blocks, payouts, alarms, licences; kept first, then delivered."""
