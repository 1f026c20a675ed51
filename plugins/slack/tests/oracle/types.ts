// What an incoming webhook takes, in the types Slack publishes. A test writes every payload as a
// literal of type `Webhook` beside this file and has the compiler judge them.
import type { KnownBlock, MessageAttachment } from '@slack/types';

type Attachment = Omit<MessageAttachment, 'blocks'> & { blocks: KnownBlock[] };

export interface Webhook {
  text: string;
  attachments?: Attachment[];
}

// The judge must bite: each of these is an error, or the compiler says that it is none.
export const badHeader: Webhook = {
  text: 't',
  // @ts-expect-error a header takes plain text only
  attachments: [{ blocks: [{ type: 'header', text: { type: 'mrkdwn', text: 'x' } }] }],
};
export const badKey: Webhook = {
  text: 't',
  // @ts-expect-error no such key
  attachments: [{ blocks: [{ type: 'section', txet: { type: 'mrkdwn', text: 'y' } }] }],
};
export const badType: Webhook = {
  text: 't',
  // @ts-expect-error no such block
  attachments: [{ blocks: [{ type: 'nosuch' }] }],
};
// @ts-expect-error text is needed
export const noText: Webhook = { attachments: [] };
