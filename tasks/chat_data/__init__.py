"""Conversations and preferences: mined from documents, or read from files."""

from tasks.chat_data.stage import ChatDataParams, chat_data

__all__ = ["ChatDataParams", "chat_data"]
