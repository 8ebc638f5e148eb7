"""The messages between a client and an engine, with the names of OpenGRIS Scaler's protocol where it has one.

Client → engine: ``ClientHello``, ``Task``, ``TaskCancel``, ``TaskWaits``, ``ObjectCreate``, ``ObjectDelete``,
``ItemsTaken``, ``ClientContext``, ``BuffersReceived``, ``EngineStatusRequest``, ``EngineTasksRequest``,
``EngineScale``, ``ClientWithdraw``, ``ClientPause``, ``ClientShutdown``, ``ClientDisconnect``.
Engine → client: ``EngineHello``, ``EngineStatus``, ``EngineTasks``, ``ObjectCreated``, ``ClientShutdownResponse``,
``TaskStarted``, ``TaskAttemptFailed``, ``TaskCancelConfirm``, ``TaskResult``, ``TaskLog``, ``TaskProgress``,
``TaskDisplay``, ``TaskPreview``, ``TaskItem``, ``TaskNested``.

A field's type is checked when a message arrives (:mod:`scaler_notebook.protocol.encoding.wire`): the annotations here
are the wire's specification.
"""

from .client_messages import BuffersReceived as BuffersReceived
from .client_messages import ClientContext as ClientContext
from .client_messages import ClientDisconnect as ClientDisconnect
from .client_messages import ClientHello as ClientHello
from .client_messages import ClientMessage as ClientMessage
from .client_messages import ClientPause as ClientPause
from .client_messages import ClientShutdown as ClientShutdown
from .client_messages import ClientWithdraw as ClientWithdraw
from .client_messages import EngineScale as EngineScale
from .client_messages import EngineStatusRequest as EngineStatusRequest
from .client_messages import EngineTasksRequest as EngineTasksRequest
from .client_messages import Initializer as Initializer
from .client_messages import ItemsTaken as ItemsTaken
from .client_messages import ObjectCreate as ObjectCreate
from .client_messages import ObjectDelete as ObjectDelete
from .client_messages import Task as Task
from .client_messages import TaskCancel as TaskCancel
from .client_messages import TaskWaits as TaskWaits
from .engine_messages import PYTHON as PYTHON
from .engine_messages import ClientShutdownResponse as ClientShutdownResponse
from .engine_messages import EngineHello as EngineHello
from .engine_messages import EngineMessage as EngineMessage
from .engine_messages import EngineStatus as EngineStatus
from .engine_messages import EngineTasks as EngineTasks
from .engine_messages import ObjectCreated as ObjectCreated
from .engine_messages import TaskAttemptFailed as TaskAttemptFailed
from .engine_messages import TaskCancelConfirm as TaskCancelConfirm
from .engine_messages import TaskDisplay as TaskDisplay
from .engine_messages import TaskItem as TaskItem
from .engine_messages import TaskLog as TaskLog
from .engine_messages import TaskMessage as TaskMessage
from .engine_messages import TaskNested as TaskNested
from .engine_messages import TaskPreview as TaskPreview
from .engine_messages import TaskProgress as TaskProgress
from .engine_messages import TaskResult as TaskResult
from .engine_messages import TaskStarted as TaskStarted
from .records import NO_PROCESS_EXIT as NO_PROCESS_EXIT
from .records import Buffer as Buffer
from .records import Capability as Capability
from .records import DisplayKind as DisplayKind
from .records import LogStream as LogStream
from .records import Payload as Payload
from .records import PreviewKind as PreviewKind
from .records import ProcessExit as ProcessExit
from .records import ResultSummary as ResultSummary
from .records import SegmentRef as SegmentRef
from .records import TaskActivity as TaskActivity
from .records import TaskBrief as TaskBrief
from .records import TaskCancelConfirmType as TaskCancelConfirmType
from .records import TaskFigures as TaskFigures
from .records import TaskOptions as TaskOptions
from .records import TaskResultType as TaskResultType
