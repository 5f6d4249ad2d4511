"""The always-on consumer (`caves consume`): a member of a consumer group that lands as events come."""
