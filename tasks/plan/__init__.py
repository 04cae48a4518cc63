"""What a training run will take before it is started. Start at `plan.py`; the command is `sluice plan`.

compute.py     FLOPs, GPU hours, days
memory.py      training memory by ZeRO stage, inference memory, checkpoints
hardware.py    accelerators: peak, memory, power, price
published.py   runs that others published, to hold the arithmetic against
"""
