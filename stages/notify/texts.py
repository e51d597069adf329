"""Everything that people are told, in English and in Traditional Chinese, side by side: one catalogue for messages, cards and answers.

What other stages and the world wrote (titles, reasons, errors, summaries) is put into these sentences as it was written.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from schemas.action import Action, describe, part_of, unit_name
from schemas.words import Language, Probe


class Text(NamedTuple):
    """One sentence. Both forms have the same placeholders."""

    english: str
    chinese: str


TEXTS: dict[str, Text] = {
    # incidents
    "opened": Text("{severity} OPENED: {title}", "{severity} 新事件：{title}"),
    "opened.about": Text("{alert} on {target}", "{alert}，對象為 {target}"),
    "opened.again": Text("{alert} on {target}, for the {times}. time", "{alert}，對象為 {target}，第 {times} 次發生"),
    "resolved": Text("RESOLVED after {seconds} s, {how}: {target}", "已解決（歷時 {seconds} 秒），{how}：{target}"),
    "how.auto_repaired": Text("after an automatic action", "在自動執行動作之後"),
    "how.human_approved": Text("after an action that people approved", "在人員核准的動作之後"),
    "how.rejected": Text("after people rejected an action", "在人員否決動作之後"),
    "how.self_resolved": Text("without a repair of ours that is verified by now", "目前沒有經驗證的修復"),
    "people": Text("{severity} PEOPLE NEEDED: {reason}", "{severity} 需要人員處理：{reason}"),
    "incident": Text("incident {incident}: mend incidents show {incident}", "事件 {incident}：mend incidents show {incident}"),
    "dead": Text(
        "DEAD LETTER: {group} could not handle {kind} from {topic} ({reason})",
        "無法處理的訊息：{group} 無法處理 {topic} 的 {kind}（{reason}）",
    ),
    "dead.unreadable": Text("an unreadable entry", "無法讀取的項目"),
    # decisions
    "wanted": Text("APPROVAL WANTED: {what}", "需要核准：{what}"),
    "wanted.risk": Text("risk {risk}, {people} ({rule}), until {until} UTC", "風險 {risk}，{people}（{rule}），期限 {until} UTC"),
    "people.one": Text("1 signature", "需 1 人簽核"),
    "people.many": Text("{count} signatures by different people", "需 {count} 位不同人員簽核"),
    "wanted.how": Text(
        "mend approvals sign {approval}   or   mend approvals reject {approval}",
        "mend approvals sign {approval}   或   mend approvals reject {approval}",
    ),
    "signed": Text(
        "SIGNED by {person}, {missing} missing: mend approvals sign {approval}",
        "{person} 已簽核，還差 {missing} 人：mend approvals sign {approval}",
    ),
    "approved.people": Text("APPROVED signed by {people}: {what}", "已核准，由 {people} 簽核：{what}"),
    "approved.alone": Text("APPROVED by itself ({rule}): {what}", "自動核准（{rule}）：{what}"),
    "rejected": Text("REJECTED by {person}: {what}", "{person} 已否決：{what}"),
    "expired": Text("EXPIRED without enough signatures, not run: {what}", "逾期且簽核不足，未執行：{what}"),
    "withdrawn": Text("WITHDRAWN, {reason}: {what}", "已撤回（{reason}）：{what}"),
    "held": Text("HELD ({rule}), not run: {what}", "已攔下（{rule}），未執行：{what}"),
    # what was done
    "looked": Text("LOOKED AT, nothing was changed: {target}", "僅查看，未做任何變更：{target}"),
    "ended": Text("{outcome}: {what}, in {seconds} s", "{outcome}：{what}，耗時 {seconds} 秒"),
    "outcome.succeeded": Text("DONE, NOT YET VERIFIED", "已執行，尚未驗證"),
    "outcome.failed": Text("FAILED", "執行失敗"),
    "outcome.unknown": Text("UNKNOWN WHETHER IT HAPPENED", "無法確定是否已執行"),
    "outcome.refused": Text("REFUSED, nothing was changed", "已拒絕，未做任何變更"),
    "outcome.dry_run_blocked": Text("STOPPED BY ITS DRY RUN, nothing was changed", "試跑未通過，未做任何變更"),
    "outcome.shadowed": Text("NOT RUN (shadow)", "未執行（shadow 模式）"),
    "outcome.withdrawn": Text("WITHDRAWN, not run", "已撤回，未執行"),
    # what became of it
    "judged": Text("{said}: {what}", "{said}：{what}"),
    "worse": Text("got worse: {regressions}", "惡化：{regressions}"),
    "verdict.success": Text("HEALED", "已修復"),
    "verdict.degraded": Text("NOT HEALED (degraded)", "未修復（degraded）"),
    "verdict.failed": Text("NOT HEALED (failed)", "未修復（failed）"),
    "verdict.timeout": Text("NOT KNOWN WHETHER IT HEALED (timeout)", "無法確定是否修復（timeout）"),
    "verdict.unmeasured": Text("NOT KNOWN WHETHER IT HEALED (nothing could be measured)", "無法確定是否修復（無法量測）"),
    "verdict.relapse": Text("NOT HEALED (it came back)", "未修復（問題復發）"),
    "verdict.contained": Text("DONE, AND IT HEALS NOTHING BY ITSELF", "已執行，但此動作本身不會修復問題"),
    "verdict.unknown": Text("NOT KNOWN WHETHER IT HEALED ({verdict})", "無法確定是否修復（{verdict}）"),
    "verdict.healthy": Text("HEALTHY NOW (whether by this is not known)", "目前正常（無法確定是否因此動作）"),
    # what an approver must know
    "why": Text("why: {reasons}", "原因：{reasons}"),
    "reverted": Text("will be reverted by {gitops}, unless its repository is changed as well", "會被 {gitops} 還原，除非也修改其儲存庫"),
    "blast": Text("blast radius {score} of 100 ({tier}): {pods} pods", "影響範圍 {score}/100（{tier}）：{pods} 個 Pod"),
    "blast.services": Text(
        "blast radius {score} of 100 ({tier}): {pods} pods, services {services}",
        "影響範圍 {score}/100（{tier}）：{pods} 個 Pod，服務 {services}",
    ),
    "changes": Text("changes {line}", "變更 {line}"),
    "undone": Text("undone by: {way}", "還原方式：{way}"),
    "no_way_back": Text("nothing that Mendstream can do: {why}", "Mendstream 無法還原：{why}"),
    "way_back": Text("{what} (once it was done: mend approvals undo {approval})", "{what}（執行後：mend approvals undo {approval}）"),
    "undo": Text("undone by: {what}: mend approvals undo {approval}", "還原方式：{what}：mend approvals undo {approval}"),
    "check.not_checked": Text("not checked: {name}: {detail}", "未檢查：{name}：{detail}"),
    "check.failed": Text("failed: {name}: {detail}", "檢查未通過：{name}：{detail}"),
    "check.none": Text("not checked: no check was run", "未檢查：沒有執行任何檢查"),
    "more.changes": Text(
        "and {count} more lines of the change: mend approvals show {approval}", "另有 {count} 行變更：mend approvals show {approval}"
    ),
    "more.checks": Text(
        "and {count} more such checks: mend approvals show {approval}", "另有 {count} 項檢查：mend approvals show {approval}"
    ),
    "unproven": Text("NOT PROVEN: {why}; look at {target} yourself before you sign", "未經證實：{why}；簽核前請親自查看 {target}"),
    "claim": Text("it claims: {line}", "其自稱：{line}"),
    # the card: what it is about
    "card.incident": Text("Incident", "事件"),
    "card.problem": Text("Problem", "問題"),
    "card.held": Text("Held, not run", "已攔下，未執行"),
    "card.action": Text("Action", "動作"),
    "card.warning": Text("Warning", "警告"),
    "card.why": Text("Why", "原因"),
    "card.claim": Text("Why, as it claims", "原因（其自稱）"),
    "card.source": Text("From", "來源"),
    "card.near": Text("Nearly fits", "相近的作業手冊"),
    "card.recommended": Text("Recommended", "建議修復"),
    "card.decided": Text("Decided by", "判定依據"),
    "card.votes": Text("Votes", "簽核"),
    "card.until": Text("Until", "期限"),
    "card.reach": Text("Reaches", "影響範圍"),
    "card.seen": Text("Seen", "所見"),
    "card.checks": Text("Checks", "檢查"),
    "card.change": Text("Change", "變更內容"),
    "card.undo": Text("Undone by", "還原方式"),
    "card.past": Text("Last times", "過往紀錄"),
    "card.outcome": Text("Outcome", "結果"),
    "card.tried": Text("Tried", "已嘗試"),
    "card.people": Text("People", "人員"),
    "card.more": Text("More", "詳情"),
    "held_by": Text("{what} (rule {rule})", "{what}（規則 {rule}）"),
    "problem.again": Text("{alerts} on {target}, for the {times}. time", "{alerts}，對象為 {target}，第 {times} 次發生"),
    "source": Text("{source}, proposed by {proposer}, confidence {confidence}", "{source}，提案者 {proposer}，信心 {confidence}"),
    "source.model": Text("a language model ({provider}), which decides nothing", "語言模型（{provider}），無決定權"),
    "objection": Text("a critic objects: {objection}", "評論者反對：{objection}"),
    "source.playbook": Text("playbook {playbook}", "作業手冊 {playbook}"),
    "source.version": Text("playbook {playbook} version {version}", "作業手冊 {playbook} 第 {version} 版"),
    "source.similar": Text("similarity {similarity}", "相似度 {similarity}"),
    "source.cached": Text("from cache", "來自快取"),
    "recommended": Text(
        "{verb}: {healed} of {tried} healed it before, {rate} ({low} to {high})",
        "{verb}：過去 {tried} 次中有 {healed} 次修復，{rate}（{low} 至 {high}）",
    ),
    "recommended.nothing": Text(
        "nothing: of {tried} tried for this problem none {least} times with {rate} success",
        "無：此問題曾嘗試 {tried} 次，沒有任何動作達到 {least} 次且成功率 {rate}",
    ),
    "recommended.unknown": Text(
        "nothing is known yet; as a rule a restart, else the deletion of a pod, which is a default and no finding",
        "尚無紀錄；通常先重新啟動，其次刪除 Pod（此為預設，並非依據紀錄）",
    ),
    "seen.none": Text("no evidence was taken", "未取得任何證據"),
    "seen.more": Text("the rest: mend approvals show {approval}", "其餘：mend approvals show {approval}"),
    "root_cause": Text("root cause: {cause}", "根本原因：{cause}"),
    "decided": Text(
        "rule {rule}, mode {mode}, trust {trust}, risk {before}; {people}",
        "規則 {rule}，模式 {mode}，信任 {trust}，風險 {before}；{people}",
    ),
    "decided.lowered": Text(
        "rule {rule}, mode {mode}, trust {trust}, risk {before}, by trust {after}; {people}",
        "規則 {rule}，模式 {mode}，信任 {trust}，風險 {before}，因信任降為 {after}；{people}",
    ),
    "decided.roles": Text("{decided}, with {roles} among them", "{decided}，其中須包含 {roles}"),
    "playbook.draft": Text("playbook {playbook} version {version} was drafted", "已起草處置手冊 {playbook} 第 {version} 版"),
    "playbook.approved": Text("playbook {playbook} version {version} may propose now", "處置手冊 {playbook} 第 {version} 版現可提出處置"),
    "playbook.deprecated": Text(
        "playbook {playbook} version {version} proposes no more", "處置手冊 {playbook} 第 {version} 版不再提出處置"
    ),
    "playbook.review": Text(
        "it waits for review: mend playbooks show {playbook} --version {version}",
        "等待審閱：mend playbooks show {playbook} --version {version}",
    ),
    "playbook.how": Text(
        "what it rests on: mend playbooks show {playbook} --version {version}",
        "依據：mend playbooks show {playbook} --version {version}",
    ),
    "people.none": Text("no signature", "不需簽核"),
    "vote.sign": Text("signed by {person}", "{person} 已簽核"),
    "vote.reject": Text("rejected by {person}", "{person} 已否決"),
    "vote.said": Text("{vote}: {comment}", "{vote}：{comment}"),
    "reach": Text(
        "{score} of 100 ({tier}); {pods} pods, {replicas} replicas; services {services}; data {data}; downtime {downtime} s",
        "{score}/100（{tier}）；{pods} 個 Pod，{replicas} 個副本；服務 {services}；資料 {data}；停機 {downtime} 秒",
    ),
    "reach.unmeasured": Text("not measured: {what}", "未量測：{what}"),
    "reach.unknown": Text("not measured", "未量測"),
    "none": Text("none", "無"),
    "check.warning": Text("warning: {name}: {detail}", "警告：{name}：{detail}"),
    "past.counted": Text(
        "done here before: {tried}; healed: {healed}; failed or not healed: {failed}",
        "同一對象曾執行 {tried} 次：{healed} 次修復，{failed} 次失敗或未修復",
    ),
    "past.one": Text("{at}: {what}: {result}", "{at}：{what}：{result}"),
    "past.never": Text("never done here before", "此處從未執行過"),
    "past.recurred": Text(
        "this problem came {count} times: {auto} repaired by itself, {approved} after approval, {rejected} rejected, {gone} went away",
        "此問題發生過 {count} 次：{auto} 次自動修復，{approved} 次核准後修復，{rejected} 次遭否決，{gone} 次自行消失",
    ),
    "tried.one": Text("{at}: {what}: {result}, {who}", "{at}：{what}：{result}，{who}"),
    "tried.signed": Text("signed by {people}", "由 {people} 簽核"),
    "tried.rejected": Text("rejected by {people}", "遭 {people} 否決"),
    "tried.alone": Text("without a signature", "無人簽核"),
    # the card: how it stands
    "state.investigating": Text("being looked at", "調查中"),
    "state.waiting": Text("approval wanted ({signed} of {needed} signatures)", "等待核准（{signed}/{needed} 人已簽核）"),
    "state.approved": Text("approved", "已核准"),
    "state.running": Text("running", "執行中"),
    "state.rejected": Text("rejected", "已否決"),
    "state.expired": Text("expired, not run", "已逾期，未執行"),
    "state.withdrawn": Text("withdrawn, not run", "已撤回，未執行"),
    "state.held": Text("held ({rule}), not run", "已攔下（{rule}），未執行"),
    "state.people": Text("people needed", "需要人員處理"),
    "state.resolved": Text("resolved, {how}", "已解決，{how}"),
    "state.closed": Text("closed, {how}", "已結案，{how}"),
    "button.sign": Text("Sign", "簽核"),
    "button.reject": Text("Reject", "否決"),
    "button.stop": Text("Stop it", "停止執行"),
    # answers to who pressed a button
    "press.unlisted": Text(
        "You are not listed under [people] with this account ({account}), so nothing was done.",
        "您的帳號（{account}）未列於 [people]，因此未做任何動作。",
    ),
    "press.replayed": Text("This press was taken before; nothing more was done.", "此操作先前已收到，未再做任何動作。"),
    "press.away": Text("Nothing was done: {reason}. Please press again later.", "未做任何動作：{reason}。請稍後再按一次。"),
    "press.unsure": Text(
        "It is not known whether your vote was cast: {reason}. Look at the card, and press again if it does not show it.",
        "無法確定您的投票是否已送出：{reason}。請查看卡片，若未顯示，請再按一次。",
    ),
    "press.answer": Text("{person}: {said}", "{person}：{said}"),
    # actions
    "do.Investigate": Text("investigate {target}", "調查 {target}"),
    "do.RestartWorkload": Text("restart {target}", "重新啟動 {target}"),
    "do.RollBackWorkload": Text("roll back {target} to revision {to_revision}", "將 {target} 回復至修訂版 {to_revision}"),
    "do.ScaleWorkload": Text("scale {target} to {replicas} replicas", "將 {target} 調整為 {replicas} 個副本"),
    "do.SetAutoscalerBounds": Text(
        "let autoscaler {autoscaler} keep {target} between {minimum} and {maximum} replicas",
        "讓自動擴縮器 {autoscaler} 將 {target} 維持在 {minimum} 到 {maximum} 個副本",
    ),
    "do.DeletePod": Text("delete {target}", "刪除 {target}"),
    "do.EvictPod": Text("evict {target}", "驅逐 {target}"),
    "do.CordonNode": Text("cordon {target}", "停止排程至 {target}"),
    "do.UncordonNode": Text("uncordon {target}", "恢復排程至 {target}"),
    "do.RerunJob": Text("run {target} again", "重新執行 {target}"),
    "do.SetMemoryLimit": Text(
        "set the memory limit of container {container} of {target} to {memory}", "將 {target} 的容器 {container} 記憶體上限設為 {memory}"
    ),
    "do.DiagnoseHost": Text("run {probes} on {target}", "在 {target} 上執行 {probes}"),
    "do.RestartUnit": Text("restart unit {unit} on {target}", "在 {target} 上重新啟動單元 {unit}"),
    "do.RestartContainer": Text("restart container {container} on {target}", "在 {target} 上重新啟動容器 {container}"),
    "do.RestartComposeService": Text("restart compose service {part} on {target}", "在 {target} 上重新啟動 compose 服務 {part}"),
    "do.TruncateContainerLog": Text(
        "delete the log lines of container {container} on {target}", "刪除 {target} 上容器 {container} 的日誌內容"
    ),
    "do.RenewCertificates": Text("renew the certificates that are due on {target}", "更新 {target} 上到期的憑證"),
    "do.ReloadNginx": Text("reload nginx on {target}", "重新載入 {target} 上的 nginx"),
    "do.PruneImages": Text("delete the images without a name that no container uses on {target}", "刪除 {target} 上未被容器使用的無名映像"),
    "do.PruneVolumes": Text(
        "delete the volumes that no container uses, with their data, on {target}", "刪除 {target} 上未被容器使用的磁碟區及其資料"
    ),
    "do.PruneSystem": Text(
        "delete stopped containers, unused networks and images without a name on {target}",
        "刪除 {target} 上已停止的容器、未使用的網路與無名映像",
    ),
}


def say(language: Language, key: str, **values: object) -> str:
    """One sentence of the catalogue with its placeholders filled. Raises KeyError for a key, or a placeholder, that is not there."""
    text = TEXTS[key]
    return (text.chinese if language is Language.CHINESE else text.english).format(**values)


def action_in(language: Language, action: Action) -> str:
    """What would be done to what, in one line; in English as `schemas.action.describe` says it."""
    key = f"do.{type(action).__name__}"
    if language is Language.ENGLISH or key not in TEXTS:
        return describe(action)
    values = msgspec.structs.asdict(action) | {"part": part_of(action)}
    if "probes" in values:
        values["probes"] = ", ".join(values["probes"] or Probe)
    if "unit" in values:
        values["unit"] = unit_name(values["unit"])
    return say(language, key, **values)
