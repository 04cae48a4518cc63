"""Six paragraphs that every rule lets pass; the tests spoil them in one way at a time."""

PROSE = """\
The ferry leaves the old harbour at seven in the morning and needs about two hours to reach the island.
Most of those who travel on it have relatives there, or they are going to look after the lighthouse for a week.
On the upper deck there is a small kitchen, where a cook from the village sells coffee and bread with smoked fish.
When the weather is rough, the captain waits until noon before he decides whether to sail at all.
Passengers who have waited that long are given a blanket, and nobody is asked to pay for a second night.
In winter the boat only goes twice a week, so letters and medicine are sent by air from the mainland."""
