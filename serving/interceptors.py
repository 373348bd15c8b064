"""What happens around every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc

from forecast.errors import SurgecastError
from serving.errors import to_grpc

Handler = Callable[[Any, grpc.ServicerContext], Any]


class ErrorInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Turns our errors into the status and details that a caller sees."""

    def intercept_service(
        self, continuation: Callable[[Any], grpc.RpcMethodHandler | None], handler_call_details: Any
    ) -> grpc.RpcMethodHandler | None:
        """Wrap the handler of one call."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        ends = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(_translated(handler.unary_unary), *ends)
        pushed = getattr(handler.unary_stream, "experimental_non_blocking", False)  # holds no thread
        if handler.unary_stream is not None and not pushed:
            return grpc.unary_stream_rpc_method_handler(_pieces(handler.unary_stream), *ends)
        return handler


def _translated(answer: Handler) -> Handler:
    def answer_or_status(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return answer(request, context)
        except SurgecastError as error:
            context.abort_with_status(to_grpc(error))

    return answer_or_status


def _pieces(stream: Handler) -> Handler:
    def pieces_or_status(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from stream(request, context)
        except SurgecastError as error:
            context.abort_with_status(to_grpc(error))

    return pieces_or_status
