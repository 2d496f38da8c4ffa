//! What each side of a hand-over does next, and what becomes of it if the other side fails: no clock,
//! no sockets, no sessions.
//!
//! ~~~text
//!   old process                                   new process
//!   . . . . . . . . . . . . . . . . <--- Hello ---  asks
//!   describes itself  --- State, sockets -------->  prepares: reads its file, binds, starts workers,
//!                                                 has each relay something
//!   . . . . . . . . . . . . . . . <--- Progress ---  after each of these
//!   . . . . . . . . . . . . . . . . <--- Ready ---
//!   stops accepting   --- Switch ---------------->  accepts; clients have waited in the queue
//!   freezes sessions  --- Batch ----------------->  checks them
//!   . . . . . . . . . . . . . . . . <--- Taken ---
//!   . . . . . . . . . --- Commit ---------------->  continues them
//!   closes its copies
//!   as often as needed
//!   . . . . . . . . . --- Final ----------------->  is the instance
//!   exits, or guards the new one for a while
//!   . . . . . . . . . . . . . . . . <--- Beat -----  again and again, if it is guarded
//!   exits             <--- Release ---------------  if another process asks to take over
//!   finishes its      <--- Stop ------------------  at any time after Switch, if it ends in an orderly
//!   sessions, exits                               way; unless it is guarded, Final answers
//! ~~~
//!
//! **The rule that makes it exact**: sessions that have not been committed belong to the old process
//! as long as it lives. Before the old process continues any of them, or accepts again, it sets a flag
//! that both processes share; only then does it close the channel. So a channel that has ended
//! without the flag means that the old process is dead, and the new process continues what it was
//! sent. Sending the commit either fails, or the new process will receive it unless it dies.
//!
//! After a [`Kind::Stop`] the old process moves nothing more, and never accepts again: whoever has
//! ended the instance wants nobody to serve.
//!
//! A guarded process that sends no beats any more is killed before the old one accepts again, so that
//! only one of them serves.

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The new process asks for the hand-over.
    Hello,
    /// What the old process is, with its sockets.
    State,
    /// The old process declines, and says why.
    Refuse,
    /// The new process could serve.
    Ready,
    /// The new process is to accept from now on.
    Switch,
    /// Frozen sessions, with their connections.
    Batch,
    /// The new process could continue them.
    Taken,
    /// The new process is to continue them.
    Commit,
    /// Nothing can move now, and some sessions are left.
    Rest,
    /// Nothing is left.
    Final,
    /// The new process has got further on its way to [`Kind::Ready`].
    Progress,
    /// The new process, which is guarded, still does its work.
    Beat,
    /// The new process, which is guarded, is to be guarded no longer.
    Release,
    /// The new process ends in an orderly way: no process is to serve.
    Stop,
}

/// What the old process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldStep {
    /// Wait for a message of this kind; any other is a failure.
    Await(Kind),
    /// Send a message. It has failed if nobody will read it.
    Send(Kind),
    /// Stop accepting; clients wait in the queues.
    Unwatch,
    /// Take sessions out of the workers; see [`Old::froze`].
    Freeze,
    /// Close this process's copies of the sessions' connections.
    LetGo,
    /// Wait a little before sessions that could not move are tried again.
    Pause,
    /// Look for a beat for a short time; see [`Old::looked`]. The end of the channel is a failure.
    Guard,
    /// Kill the new process, which must not serve any more.
    Kill,
    /// Set the flag: what has not been committed is not to be continued elsewhere.
    Revoke,
    /// Continue the frozen sessions, if there are any.
    Thaw,
    /// Accept again.
    Watch,
    /// It is over.
    End(OldEnd),
}

/// How a hand-over ended for the old process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldEnd {
    /// Nothing has changed.
    Unchanged,
    /// It serves again. Sessions that were committed have gone.
    TakenBack,
    /// The other process is the instance now.
    Gone,
    /// The other process has ended in an orderly way. This one has its sessions, and accepts nobody.
    Stopped,
}

/// What a freeze has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Froze {
    /// At least one session.
    Some,
    /// None that can move now.
    NoneNow,
    /// None is left.
    NoneLeft,
}

/// What a look at the guarded process has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It has sent a beat.
    Beat,
    /// It has not said anything.
    Silence,
    /// It needs no guard any more.
    Release,
}

/// The maximum number of looks in a row that find nothing. They are counted, rather than the time, so
/// that a pause of the whole machine is not held against the new process.
pub const SILENT_LOOKS_MAX: u32 = 15;

/// The old side of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Old {
    step: OldStep,
    /// Whether the guarded process is to send beats, and can be killed.
    expects_beats: bool,
    /// Looks since the last beat.
    silent_looks: u32,
    /// Whether the channel has ended while the new process was guarded.
    is_cut: bool,
    /// Whether the new process has said that it ends in an orderly way.
    is_stopped: bool,
}

impl Default for Old {
    fn default() -> Self {
        let step = OldStep::Await(Kind::Hello);
        Self { step, expects_beats: false, silent_looks: 0, is_cut: false, is_stopped: false }
    }
}

impl Old {
    /// What to do next.
    #[must_use]
    pub fn step(&self) -> OldStep {
        self.step
    }

    /// The new process has said that it sends beats when it is guarded.
    pub fn expect_beats(&mut self) {
        self.expects_beats = true;
    }

    /// The new process has said that it ends in an orderly way. [`OldStep::Freeze`] finds nothing
    /// more.
    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// The step has been performed.
    pub fn done(&mut self) {
        use OldStep::*;
        self.step = match self.step {
            Send(Kind::Final) | Thaw if self.is_stopped => End(OldEnd::Stopped),
            Await(Kind::Hello) => Send(Kind::State),
            Send(Kind::State) => Await(Kind::Ready),
            Await(Kind::Ready) => Unwatch,
            Unwatch => Send(Kind::Switch),
            Send(Kind::Switch) | LetGo | Pause => Freeze,
            Send(Kind::Batch) => Await(Kind::Taken),
            Await(Kind::Taken) => Send(Kind::Commit),
            Send(Kind::Commit) => LetGo,
            Send(Kind::Rest) => Pause,
            Send(Kind::Final) => Guard,
            Kill => Revoke,
            Revoke => Thaw,
            Thaw => Watch,
            Watch => End(OldEnd::TakenBack),
            step @ (Await(_) | Send(_) | Freeze | Guard | End(_)) => step,
        };
    }

    /// The step [`OldStep::Guard`] has been performed; `is_over` after the time that was asked for.
    /// The guard does not end in a silence.
    pub fn looked(&mut self, found: Look, is_over: bool) {
        self.silent_looks = match found {
            Look::Silence if self.expects_beats => self.silent_looks + 1,
            Look::Silence | Look::Beat | Look::Release => 0,
        };
        let is_over = is_over || found == Look::Release;
        if self.silent_looks >= SILENT_LOOKS_MAX {
            self.step = OldStep::Kill;
        } else if is_over && self.silent_looks == 0 {
            self.step = OldStep::End(OldEnd::Gone);
        }
    }

    /// The step [`OldStep::Freeze`] has been performed.
    pub fn froze(&mut self, found: Froze) {
        self.step = OldStep::Send(match found {
            Froze::Some => Kind::Batch,
            Froze::NoneNow => Kind::Rest,
            Froze::NoneLeft => Kind::Final,
        });
    }

    /// The step has failed: the other side is gone, late, or says something else.
    pub fn failed(&mut self) {
        use OldStep::*;
        self.step = match self.step {
            Await(Kind::Hello | Kind::Ready) | Send(Kind::State) => End(OldEnd::Unchanged),
            Guard if self.is_stopped => End(OldEnd::Gone),
            Guard if self.expects_beats => {
                self.is_cut = true;
                Kill
            }
            // It may still serve, so it is only guarded against its end.
            Kill if !self.is_cut => {
                self.expects_beats = false;
                Guard
            }
            step @ (Revoke | Thaw | Watch | End(_)) => step,
            _ => Revoke,
        };
    }
}

/// What the new process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewStep {
    /// Send a message.
    Send(Kind),
    /// Wait for the state of the old process.
    AwaitState,
    /// Do everything that can fail.
    Prepare,
    /// Wait for the order to accept.
    AwaitSwitch,
    /// Accept.
    Open,
    /// Wait for a batch, or for the end; see [`New::received`].
    AwaitMore,
    /// Wait for the commit.
    AwaitCommit,
    /// Continue the sessions of the batch.
    Adopt,
    /// Find out what became of the old process; see [`New::learnt`].
    LearnFate,
    /// Close this process's copies of the sessions of the batch, if there is one.
    Drop,
    /// It is over.
    End(NewEnd),
}

/// How a hand-over ended for the new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewEnd {
    /// It is the instance.
    Serving,
    /// It never accepted anybody.
    Unused,
    /// The old process serves again. Only the sessions that were committed are left here.
    Retired,
}

/// What became of the old process, whose channel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has ended, and has not set the flag before.
    Dead,
    /// It has set the flag, and lives.
    TakenBack,
    /// It has set the flag, and has ended since.
    DeadAfterwards,
}

/// The new side of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct New {
    step: NewStep,
    is_open: bool,
    has_batch: bool,
    /// Whether the old process is dead, so that nothing more will come.
    is_alone: bool,
    /// Whether the old process has described itself and passed its sockets.
    is_described: bool,
}

impl Default for New {
    fn default() -> Self {
        let step = NewStep::Send(Kind::Hello);
        Self { step, is_open: false, has_batch: false, is_alone: false, is_described: false }
    }
}

impl New {
    /// What to do next.
    #[must_use]
    pub fn step(&self) -> NewStep {
        self.step
    }

    /// The step has been performed.
    pub fn done(&mut self) {
        use NewStep::*;
        self.step = match self.step {
            Send(Kind::Hello) => AwaitState,
            AwaitState => {
                self.is_described = true;
                Prepare
            }
            Prepare => Send(Kind::Ready),
            Send(Kind::Ready) => AwaitSwitch,
            AwaitSwitch => Open,
            Open => {
                self.is_open = true;
                self.go_on()
            }
            Send(Kind::Taken) => AwaitCommit,
            AwaitCommit => Adopt,
            Adopt => {
                self.has_batch = false;
                self.go_on()
            }
            Drop => {
                self.has_batch = false;
                match (self.is_alone, self.is_open) {
                    (true, true) => End(NewEnd::Serving),
                    (true, false) => Open,
                    (false, true) => End(NewEnd::Retired),
                    (false, false) => End(NewEnd::Unused),
                }
            }
            step @ (Send(_) | AwaitMore | LearnFate | End(_)) => step,
        };
    }

    fn go_on(&self) -> NewStep {
        match self.is_alone {
            true => NewStep::End(NewEnd::Serving),
            false => NewStep::AwaitMore,
        }
    }

    /// The step [`NewStep::AwaitMore`] has been performed.
    pub fn received(&mut self, kind: Kind) {
        match kind {
            Kind::Batch => {
                self.has_batch = true;
                self.step = NewStep::Send(Kind::Taken);
            }
            Kind::Rest => {}
            Kind::Final => self.step = NewStep::End(NewEnd::Serving),
            _ => self.step = NewStep::LearnFate,
        }
    }

    /// The step [`NewStep::LearnFate`] has been performed.
    pub fn learnt(&mut self, fate: Fate) {
        self.is_alone = fate != Fate::TakenBack;
        self.step = match fate {
            Fate::TakenBack | Fate::DeadAfterwards => NewStep::Drop,
            Fate::Dead if !self.is_open => NewStep::Open,
            Fate::Dead if self.has_batch => NewStep::Adopt,
            Fate::Dead => NewStep::End(NewEnd::Serving),
        };
    }

    /// The step has failed: the old side is gone or says something else, or this one cannot serve.
    pub fn failed(&mut self) {
        self.step = match self.step {
            NewStep::Send(Kind::Hello) | NewStep::AwaitState | NewStep::Prepare => {
                NewStep::End(NewEnd::Unused)
            }
            step @ NewStep::End(_) => step,
            _ if self.is_described => NewStep::LearnFate,
            _ => NewStep::End(NewEnd::Unused),
        };
    }
}

#[cfg(test)]
mod simulation;
