"""What a process can find in its own memory."""


def holds(first: str, second: str) -> bool:
    """Whether two texts stand there one after the other. Given apart, they do not stand there for being asked for."""
    first, second = first.encode(), second.encode()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:  # noqa: PTH123
        for line in maps.read().splitlines():
            place, rights = line.split()[:2]
            start, end = (int(part, 16) for part in place.split("-"))
            if "w" in rights:
                memory.seek(start)
                part, at = memory.read(end - start), -1
                while (at := part.find(first, at + 1)) >= 0:
                    if part.startswith(second, at + len(first)):
                        return True
    return False
