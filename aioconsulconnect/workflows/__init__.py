"""Operations that take several calls of the API."""
