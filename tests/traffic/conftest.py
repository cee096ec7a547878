from tests.judges.conftest import server

__all__ = ["server"]
