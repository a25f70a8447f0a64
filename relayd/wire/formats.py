"""The table of wire formats: the one place that knows them all.

A format is a row of functions; whoever holds a row needs no other knowledge of the format. A new
format is a folder with the same seven files, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from relayd.errors import RelayError
from relayd.model import FormatName, Operation, Usage
from relayd.wire import wording
from relayd.wire.chat import decode as chat_decode
from relayd.wire.chat import embed as chat_embed
from relayd.wire.chat import encode as chat_encode
from relayd.wire.chat import media as chat_media
from relayd.wire.chat import media_stream as chat_media_stream
from relayd.wire.chat import reader as chat_reader
from relayd.wire.chat import reply as chat_reply
from relayd.wire.chat import request as chat_request
from relayd.wire.chat import stream as chat_stream
from relayd.wire.chat import writer as chat_writer
from relayd.wire.codec import Codec, Embed
from relayd.wire.gemini import decode as gemini_decode
from relayd.wire.gemini import embed as gemini_embed
from relayd.wire.gemini import encode as gemini_encode
from relayd.wire.gemini import reader as gemini_reader
from relayd.wire.gemini import reply as gemini_reply
from relayd.wire.gemini import request as gemini_request
from relayd.wire.gemini import stream as gemini_stream
from relayd.wire.gemini import writer as gemini_writer
from relayd.wire.head import ErrorReply, Head, ReplyFacts, outgoing
from relayd.wire.messages import decode as messages_decode
from relayd.wire.messages import encode as messages_encode
from relayd.wire.messages import reader as messages_reader
from relayd.wire.messages import reply as messages_reply
from relayd.wire.messages import request as messages_request
from relayd.wire.messages import stream as messages_stream
from relayd.wire.messages import writer as messages_writer
from relayd.wire.multipart import Form
from relayd.wire.passthrough import Headers, Passthrough
from relayd.wire.paths import Target
from relayd.wire.pictures import decode as pictures_decode
from relayd.wire.pictures import encode as pictures_encode
from relayd.wire.pictures import reader as pictures_reader
from relayd.wire.pictures import writer as pictures_writer
from relayd.wire.responses import decode as responses_decode
from relayd.wire.responses import encode as responses_encode
from relayd.wire.responses import reader as responses_reader
from relayd.wire.responses import reply as responses_reply
from relayd.wire.responses import request as responses_request
from relayd.wire.responses import stream as responses_stream
from relayd.wire.responses import writer as responses_writer


@dataclass(frozen=True, slots=True)
class Format:
    """What is needed of one wire format, to pass it through and to translate it.

    Attributes:
        read_head: body and target to the head of the request; raises BadCall.
        outgoing: the body for an upstream that knows the model by the given name, in pieces.
        reply_usage: what a whole reply says of itself.
        tail_usage: usage from the last bytes of a reply that was too large to hold.
        sniffer: a fresh observer for the stream that answers a head.
        error: an error, with the request id, as a whole reply.
        stream_headers: those of an event stream; the observer has the ones of its own stream.
        codec: to and from the hub; None where nothing is translated to or from the format.
        read_form: as `read_head`, of a multipart form, with the model of one that names none; None
            where the format has no forms.
        streamed: a whole reply of pictures or audio, and Unix seconds, to the stream that was asked
            for; None where there is no way.
        pictures: the same for its image endpoints; None where it has none.
    """

    name: FormatName
    read_head: Callable[[bytes, Target], Head]
    outgoing: Callable[[Head, str], list[bytes | memoryview]]
    reply_usage: Callable[[bytes, Operation], ReplyFacts]
    tail_usage: Callable[[bytes], Usage | None]
    sniffer: Callable[[Head], Passthrough]
    error: Callable[[RelayError, str], ErrorReply]
    stream_headers: Headers
    codec: Codec | None = None
    pictures: Codec | None = None
    read_form: Callable[[Form, Target, str | None], Head] | None = None
    streamed: Callable[[Head, bytes, int], bytes | None] | None = None


FORMATS: Mapping[FormatName, Format] = {
    "chat": Format(
        "chat",
        chat_request.read_head,
        outgoing,
        chat_reply.reply_usage,
        chat_reply.tail_usage,
        chat_stream.observer,
        wording.error,
        chat_stream.ChatPassthrough.stream_headers,
        Codec(
            chat_decode.decode,
            chat_encode.encode,
            chat_reader.ChatReader,
            chat_writer.ChatWriter,
            embed=Embed(
                chat_embed.decode, chat_embed.encode, chat_embed.reply, chat_embed.document
            ),
        ),
        pictures=Codec(
            pictures_decode.decode,
            pictures_encode.encode,
            pictures_reader.PicturesReader,
            pictures_writer.PicturesWriter,
        ),
        read_form=chat_media.head_of_form,
        streamed=chat_media_stream.streamed,
    ),
    "responses": Format(
        "responses",
        responses_request.read_head,
        outgoing,
        responses_reply.reply_usage,
        responses_reply.tail_usage,
        responses_stream.observer,
        wording.error,
        responses_stream.ResponsesPassthrough.stream_headers,
        Codec(
            responses_decode.decode,
            responses_encode.encode,
            responses_reader.ResponsesReader,
            responses_writer.ResponsesWriter,
            responses_decode.decode_count,
            responses_encode.encode_count,
            responses_encode.count_reply,
            responses_encode.count_document,
        ),
    ),
    "messages": Format(
        "messages",
        messages_request.read_head,
        outgoing,
        messages_reply.reply_usage,
        messages_reply.tail_usage,
        messages_stream.observer,
        messages_reply.error,
        messages_stream.MessagesPassthrough.stream_headers,
        Codec(
            messages_decode.decode,
            messages_encode.encode,
            messages_reader.MessagesReader,
            messages_writer.MessagesWriter,
            messages_decode.decode_count,
            messages_encode.encode_count,
            messages_reader.count_reply,
            messages_writer.count_document,
        ),
    ),
    "gemini": Format(
        "gemini",
        gemini_request.read_head,
        outgoing,
        gemini_reply.reply_usage,
        gemini_reply.tail_usage,
        gemini_stream.observer,
        gemini_reply.error,
        gemini_stream.GeminiPassthrough.stream_headers,
        Codec(
            gemini_decode.decode,
            gemini_encode.encode,
            gemini_reader.GeminiReader,
            gemini_writer.GeminiWriter,
            gemini_decode.decode_count,
            gemini_encode.encode_count,
            gemini_writer.count_reply,
            gemini_writer.count_document,
            embed=Embed(
                gemini_embed.decode, gemini_embed.encode, gemini_embed.reply, gemini_embed.document
            ),
        ),
    ),
}
